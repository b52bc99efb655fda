//! Shows the name that a user has in the caller's language: the attribute "name.fr" for the locales "fr" and "fr-CM".
#![no_std]
#[macro_use]
mod edgecache;
use edgecache::*;

edge_function!("{\"abi\":1,\"locale\":true}", view);

fn view(mut call: Call) -> Answer {
    let locale = text(call.locale).unwrap_or(b"");
    let language = locale.split(|c| *c == b'-').next().unwrap_or(b"");
    if language.is_empty() {
        return AS_IT_IS;
    }
    let mut attrs = call.field[ATTRS];
    for _ in 0..enter(&mut attrs) / 2 {
        let (key, value) = (text(next(&mut attrs)), next(&mut attrs));
        if let Some(name) = key.and_then(|k| k.strip_prefix(b"name.")) {
            if name.eq_ignore_ascii_case(language) && !name.iter().any(u8::is_ascii_uppercase) {
                call.field[FULL_NAME] = value;
                return call.show();
            }
        }
    }
    AS_IT_IS
}
