import { assertEquals } from "deno-std/assert/mod.js";
import { diskFiles } from "../../headless/files.ts";
import { diskModules } from "../../headless/notebook_modules.ts";

const integrity = "sha384-" + btoa(String.fromCharCode(...Array.from({ length: 48 }, (_, i) => 255 - i)));

Deno.test("modules are kept by their digest, beside what other libraries keep", async () => {
  const assets = await Deno.makeTempDir();
  try {
    const modules = diskModules(diskFiles(), assets);
    assertEquals(modules.place, `${assets}/precis/modules`);
    assertEquals(await modules.read(integrity), undefined);
    const bytes = new TextEncoder().encode("export default 1;");
    await modules.keep(integrity, bytes);
    assertEquals(await modules.read(integrity), bytes);
    const names = Array.from(Deno.readDirSync(modules.place), ({ name }) => name);
    assertEquals(names.length, 1);
    assertEquals(/^sha384-fffefd[0-9a-f]{90}\.js$/.test(names[0]), true, names[0]);
  } finally {
    await Deno.remove(assets, { recursive: true });
  }
});

Deno.test("a cache that cannot be written or read costs nothing but a fetch", async () => {
  const file = await Deno.makeTempFile();
  try {
    const modules = diskModules(diskFiles(), file);
    await modules.keep(integrity, new TextEncoder().encode("1"));
    assertEquals(await modules.read(integrity), undefined);
  } finally {
    await Deno.remove(file);
  }
});
