import { assertEquals, assertMatch } from "deno-std/assert/mod.js";

const script = new URL("../setup.sh", import.meta.url).pathname;
const onUnix = Deno.build.os !== "windows";

/** Runs setup.sh where PATH holds the named programs only, and `stubs` (shell scripts by name) stand in for others. */
async function setup(args: string[], stubs: Record<string, string>, variables: Record<string, string> = {}) {
  const home = await Deno.makeTempDir();
  try {
    for (const name of ["sh", "id", "sed", "dirname", "mkdir", "rm", "mv", "cp", "ln", "chmod", "cat"]) {
      const found = ["/usr/bin", "/bin"].map((folder) => `${folder}/${name}`).find((path) => exists(path));
      if (!(name in stubs) && found) await Deno.symlink(found, `${home}/${name}`);
    }
    // Never the machine's own package manager, network or rights, whatever the case under test leaves out.
    for (
      const [name, body] of Object.entries({
        uname: linux,
        sudo: "exit 1",
        curl: "exit 7",
        id: "echo 1000",
        ...stubs,
      })
    ) {
      await Deno.remove(`${home}/${name}`).catch(() => {});
      await Deno.writeTextFile(`${home}/${name}`, `#!/bin/sh\n${body}\n`, { mode: 0o755 });
    }
    const env = { PATH: home, HOME: `${home}/home`, ...variables };
    const { code, stdout, stderr } = await new Deno.Command("/bin/sh", {
      args: [script, ...args],
      env,
      clearEnv: true,
    })
      .output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).replaceAll(home, "~");
    return { code, out: text(stdout), told: text(stderr) };
  } finally {
    await Deno.remove(home, { recursive: true });
  }
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

const linux = `case $1 in -s) echo Linux ;; *) echo x86_64 ;; esac`;
const pinned = /^DENO_VERSION=(\S+)/m.exec(Deno.readTextFileSync(script))![1];
/** A Deno of a given version, to whose `eval` a GPU answers or not; `deno task` echoes what it was given. */
const fakeDeno = (version: string, gpu: string) =>
  `case $1 in --version) echo "deno ${version} (stable)" ;; eval) ${gpu} ;; task) shift; echo "task: $*" ;; esac`;
/** An npm whose install leaves that Deno where the real package leaves it. */
const fakeNpm = `folder=$3/node_modules/@deno/linux-x64-glibc; mkdir -p "$folder"
cat > "$folder/deno" <<'END'
#!/bin/sh
${fakeDeno(pinned, "echo Some GPU")}
END
chmod +x "$folder/deno"`;

Deno.test({
  name: "on a ready machine setup.sh installs nothing and hands every argument to the task",
  ignore: !onUnix,
  async fn() {
    const { code, out, told } = await setup(["train", "--preset", "a b"], {
      deno: fakeDeno(pinned, "echo Some GPU"),
    });
    assertEquals([code, out], [0, "task: train --preset a b\n"]);
    assertMatch(told, /GPU: Some GPU/);
  },
});

Deno.test({
  name: "another version of Deno is left alone and the pinned one is put beside it",
  ignore: !onUnix,
  async fn() {
    const stubs = { deno: fakeDeno("1.0.0", "echo Some GPU"), npm: fakeNpm };
    const { code, out, told } = await setup(["test"], stubs);
    assertEquals([code, out], [0, "task: test\n"], told);
    assertMatch(told, /1\.0\.0 at ~\/deno is left alone/);
    assertMatch(told, /~\/home\/\.local\/share\/precis\/deno-/);
  },
});

Deno.test({
  name: "without npm and network one sentence says what to do, and no half-installed Deno stays",
  ignore: !onUnix,
  async fn() {
    const { code, told } = await setup(["test"], {});
    assertEquals(code, 1);
    assertMatch(told, /could not get Deno .* install it from https:\/\/deno\.com and run this again\.\n$/);
  },
});

Deno.test({
  name: "a Deno that reports another version than the pinned one is not kept",
  ignore: !onUnix,
  async fn() {
    const { code, told } = await setup(["test"], { npm: fakeNpm.replace(pinned, "2.0.0") });
    assertEquals(code, 1);
    assertMatch(told, /does not run here as version/);
  },
});

Deno.test({
  name: "where no GPU answers and there are no rights to install, setup.sh prints the one command and stops",
  ignore: !onUnix,
  async fn() {
    const stubs = { "deno": fakeDeno(pinned, ":"), "apt-get": "echo must not run >&2; exit 9" };
    const { code, out, told } = await setup(["test"], stubs);
    assertEquals([code, out], [1, ""]);
    assertMatch(
      told,
      /sudo sh -c 'apt-get update && apt-get install -y .*mesa-vulkan-drivers libvulkan1'\n$/,
    );
  },
});

Deno.test({
  name: "with rights, software Vulkan is installed once and WebGPU is asked again",
  ignore: !onUnix,
  async fn() {
    // The GPU answers once apt-get has left its mark.
    const stubs = {
      "deno": fakeDeno(pinned, '[ ! -e "$HOME.ready" ] || echo llvmpipe'),
      "sudo": 'shift; "$@"',
      "true": "exit 0",
      "apt-get": 'echo "apt-get $1"; [ "$1" != install ] || : >"$HOME.ready"',
    };
    const { code, out, told } = await setup(["test"], stubs);
    assertEquals([code, out], [0, "task: test\n"], told);
    assertEquals(told.match(/^apt-get \w+$/gm), ["apt-get update", "apt-get install"]);
    assertMatch(told, /GPU: llvmpipe/);
  },
});

Deno.test({
  name: "systems without apt-get are told their own command; unknown machines are named",
  ignore: !onUnix,
  async fn() {
    const fedora = await setup(["test"], { deno: fakeDeno(pinned, ":"), dnf: "exit 9" });
    assertEquals(fedora.code, 1);
    assertMatch(
      fedora.told,
      /as root, then start again: dnf install -y mesa-vulkan-drivers vulkan-loader\n$/,
    );

    const riscv = await setup(["test"], { uname: "case $1 in -s) echo Linux ;; *) echo riscv64 ;; esac" });
    assertEquals(riscv.code, 1);
    assertMatch(riscv.told, /no Deno .* for Linux-riscv64/);
  },
});
