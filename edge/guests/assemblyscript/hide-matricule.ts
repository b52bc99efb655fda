// Hides the registration number from guests: callers without a role, or with the role none or guest.
import { describe, encode, equal, MATRICULE, open, show, text } from "./edgecache";
export { edgecache_alloc } from "./edgecache";

export function edgecache_describe(): u64 { return describe('{"abi":1,"claims":["role"]}'); }

export function edgecache_view(input: usize, len: u32): u64 {
  const c = open(input, len);
  const role = c.claim(0);
  if (role.len > 0 && !equal(role, "none") && !equal(role, "guest")) return 0;
  c.set(MATRICULE, encode(text(0, 0)));
  return show(c);
}
