//! What an edge function in Rust needs: reading a call, changing fields, answering. Begin with `#![no_std]` and
//! `#[macro_use] mod edgecache;`, write a function that takes a `Call` and returns an `Answer`, and name it with
//! `edge_function!`. docs/edge-functions.md has the layouts.
#![allow(dead_code)]

use core::arch::wasm32;
use core::slice;

/// Text is good until the call ends, and need not be UTF-8.
pub type Text = &'static [u8];

// Fields of a profile, in the order of its layout.
pub const ID: usize = 1;
pub const NOM: usize = 2;
pub const PRENOM: usize = 3;
pub const FULL_NAME: usize = 4;
pub const AVATAR: usize = 5;
pub const MATRICULE: usize = 6;
pub const MINISTERE: usize = 7;
pub const SEXE: usize = 8;
pub const UPDATED_AT: usize = 9;
pub const ATTRS: usize = 10;
const FIELDS: usize = 11;
const NAMES: usize = 32;

/// A call. What is in it is encoded; `text` reads it.
pub struct Call {
    pub field: [Text; FIELDS],
    /// Claims and arguments, in the order of the description.
    pub claim: [Text; NAMES],
    pub arg: [Text; NAMES],
    pub locale: Text,
}

/// What `edgecache_view` returns.
#[derive(Clone, Copy)]
pub struct Answer(pub u64);

/// Shows the profile as it is.
pub const AS_IT_IS: Answer = Answer(0);

/// Makes a function the module's: edge_function!("{\"abi\":1}", view).
macro_rules! edge_function {
    ($about:expr, $view:path) => {
        #[no_mangle]
        pub extern "C" fn edgecache_describe() -> u64 {
            edgecache::span($about.as_bytes())
        }
        #[no_mangle]
        pub extern "C" fn edgecache_view(input: *const u8, len: usize) -> u64 {
            $view(edgecache::Call::read(unsafe { core::slice::from_raw_parts(input, len) })).0
        }
    };
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    wasm32::unreachable()
}

extern "C" {
    static __heap_base: u8;
}
static mut FREE: usize = 0;

#[no_mangle]
pub extern "C" fn edgecache_alloc(size: usize) -> *mut u8 {
    alloc(size).as_mut_ptr()
}

/// alloc returns memory that is good until the call ends: everything is put back then.
pub fn alloc(size: usize) -> &'static mut [u8] {
    unsafe {
        if FREE == 0 {
            FREE = &__heap_base as *const u8 as usize;
        }
        let at = FREE;
        FREE += (size + 15) & !15;
        let (have, want) = (wasm32::memory_size(0), (FREE + 0xffff) >> 16);
        if want > have && wasm32::memory_grow(0, want - have) == usize::MAX {
            wasm32::unreachable();
        }
        slice::from_raw_parts_mut(at as *mut u8, size)
    }
}

pub fn span(text: &[u8]) -> u64 {
    (text.as_ptr() as u64) << 32 | text.len() as u64
}

fn big(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |n, b| n << 8 | *b as usize)
}

/// head reads the head of a value: its length, how many bytes or elements follow, and whether they are elements.
fn head(v: &[u8]) -> (usize, usize, bool) {
    let c = v[0] as usize;
    match c {
        0..=0x7f | 0xc0 => (1, 0, false),
        0x80..=0x8f => (1, (c & 15) * 2, true),
        0x90..=0x9f => (1, c & 15, true),
        0xa0..=0xbf => (1, c & 31, false),
        0xc4 | 0xd9 => (2, v[1] as usize, false),
        0xc5 | 0xda => (3, big(&v[1..3]), false),
        0xc6 | 0xdb => (5, big(&v[1..5]), false),
        0xcc => (2, 0, false),
        0xcd => (3, 0, false),
        0xce => (5, 0, false),
        0xcf => (9, 0, false),
        0xdc => (3, big(&v[1..3]), true),
        0xde => (3, big(&v[1..3]) * 2, true),
        _ => wasm32::unreachable(),
    }
}

/// next takes one encoded value off the rest of an input.
pub fn next(rest: &mut Text) -> Text {
    let (from, mut len, mut open) = (*rest, 0, 1);
    while open > 0 {
        let (size, count, nested) = head(&from[len..]);
        len += size;
        open -= 1;
        if nested {
            open += count
        } else {
            len += count
        }
    }
    *rest = &from[len..];
    &from[..len]
}

/// enter takes the head of an array or a map off the rest, and returns how many values are in it.
pub fn enter(rest: &mut Text) -> usize {
    let (size, count, _) = head(rest);
    *rest = &rest[size..];
    count
}

/// text returns the text of an encoded value, None for nil.
pub fn text(v: Text) -> Option<Text> {
    let (size, count, _) = head(v);
    if v[0] == 0xc0 {
        return None;
    }
    Some(&v[size..size + count])
}

/// join returns the parts as one text.
pub fn join(parts: &[Text]) -> Text {
    let out = alloc(parts.iter().map(|p| p.len()).sum());
    let mut at = 0;
    for p in parts {
        out[at..at + p.len()].copy_from_slice(p);
        at += p.len();
    }
    out
}

/// encode returns text as an encoded value.
pub fn encode(t: Text) -> Text {
    let n = t.len();
    let out = alloc(n + 3);
    let head = if n < 32 {
        out[0] = 0xa0 | n as u8;
        1
    } else {
        out[0] = 0xda;
        out[1] = (n >> 8) as u8;
        out[2] = n as u8;
        3
    };
    out[head..head + n].copy_from_slice(t);
    &out[..head + n]
}

impl Call {
    pub fn read(input: Text) -> Call {
        const NIL: Text = &[0xc0];
        let mut c = Call { field: [NIL; FIELDS], claim: [NIL; NAMES], arg: [NIL; NAMES], locale: NIL };
        let mut rest = &input[2..]; // [1, …
        enter(&mut rest);
        for f in c.field.iter_mut() {
            *f = next(&mut rest);
        }
        for list in [&mut c.claim, &mut c.arg] {
            for i in 0..enter(&mut rest) {
                list[i] = next(&mut rest);
            }
        }
        c.locale = next(&mut rest);
        c
    }

    /// set gives a field another text.
    pub fn set(&mut self, field: usize, t: Text) {
        self.field[field] = encode(t);
    }

    /// show answers with the profile as the fields are now. A function that changes nothing answers AS_IT_IS.
    pub fn show(&self) -> Answer {
        let out = alloc(1 + self.field.iter().map(|f| f.len()).sum::<usize>());
        out[0] = 0x90 | FIELDS as u8;
        let mut at = 1;
        for f in self.field {
            out[at..at + f.len()].copy_from_slice(f);
            at += f.len();
        }
        Answer(span(out))
    }
}

/// refuse answers that the profile is not to be shown. The reason has at most 255 bytes.
pub fn refuse(reason: &str) -> Answer {
    let n = reason.len();
    let out = alloc(n + 4);
    out[..4].copy_from_slice(&[0x92, 0, 0xd9, n as u8]);
    out[4..].copy_from_slice(reason.as_bytes());
    Answer(span(out))
}
