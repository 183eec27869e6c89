// Processor time of other processes, in microseconds, from proc(5).
import { readFileSync } from "node:fs";

/// Linux counts for programs in hundredths of a second, whatever its own clock does.
const TICK_US = 10_000;

/// What a process has used so far, all its threads together.
export function processTime(pid) {
  return TICK_US * ticks(pid, 2);
}

/// What PostgreSQL has used so far, connections that have ended too; null where it is not ours.
export function databaseTime() {
  const postmaster = process.env.PEERS_POSTMASTER;
  if (postmaster === undefined) return null;
  const children = readFileSync(`/proc/${postmaster}/task/${postmaster}/children`, "utf8");
  const living = children.trim().split(" ").map((pid) => ticks(pid, 2));
  return TICK_US * living.reduce((sum, one) => sum + one, ticks(postmaster, 4));
}

/// The first `count` of: user, system, and the same of children that have ended.
function ticks(pid, count) {
  let stat;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch (error) {
    // It has ended since it was listed.
    if (error.code === "ENOENT" || error.code === "ESRCH") return 0;
    throw error;
  }
  // Fields 14 to 17; the first two ended before the name's parenthesis.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields.slice(11, 11 + count).reduce((sum, field) => sum + Number(field), 0);
}
