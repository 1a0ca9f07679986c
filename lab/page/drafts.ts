/** The user's edited post, kept between visits. */
import { type DBSchema, openDB } from "idb";
import type { Post } from "../query.ts";

interface Schema extends DBSchema {
  drafts: { key: "post"; value: Post };
}

const database = () => openDB<Schema>("precis", 1, { upgrade: (db) => void db.createObjectStore("drafts") });

/** The post as it was left, if it was changed. */
export async function readDraft(): Promise<Post | undefined> {
  const db = await database();
  const draft = await db.get("drafts", "post");
  db.close();
  return draft;
}

/** Keeps a post, or with `null` forgets the one that was kept. */
export async function keepDraft(post: Post | null): Promise<void> {
  const db = await database();
  if (post) await db.put("drafts", post, "post");
  else await db.delete("drafts", "post");
  db.close();
}
