//! Asks for the picture at the size of the argument: "/a/1.webp" with size 64 becomes "/a/1.webp?size=64".
#![no_std]
#[macro_use]
mod edgecache;
use edgecache::*;

edge_function!("{\"abi\":1,\"args\":[\"size\"]}", view);

/// pixels reports whether t is a number from 16 to 1024.
fn pixels(t: Text) -> bool {
    let digits = t.len() <= 4 && t.iter().all(u8::is_ascii_digit);
    digits && matches!(t.iter().fold(0, |n, c| n * 10 + (c - b'0') as u32), 16..=1024)
}

fn view(mut call: Call) -> Answer {
    let (size, avatar) = match (text(call.arg[0]), text(call.field[AVATAR])) {
        (Some(size), Some(avatar)) if !avatar.is_empty() => (size, avatar),
        _ => return AS_IT_IS,
    };
    if !pixels(size) {
        return refuse("size wants 16 to 1024");
    }
    let mark: Text = if avatar.contains(&b'?') { b"&size=" } else { b"?size=" };
    call.set(AVATAR, join(&[avatar, mark, size]));
    call.show()
}
