//! Keys as text: one line each, harmless on a terminal, and back to the same bytes by eye.
//!
//! Printable UTF-8 stays; a backslash becomes `\\`; every byte of anything else becomes `\xNN`. (`printf '%b'` undoes it.)

/// Escapes a key.
pub fn escape(key: &[u8]) -> String {
    let mut text = String::with_capacity(key.len());
    for part in key.utf8_chunks() {
        for c in part.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                c if printable(c) => text.push(c),
                c => hex(c.encode_utf8(&mut [0; 4]).as_bytes(), &mut text),
            }
        }
        hex(part.invalid(), &mut text);
    }
    text
}

/// Not a control, format, private or unassigned character, nor a space that cannot be told from a plain one.
fn printable(c: char) -> bool {
    matches!(c, '\'' | '"') || c.escape_debug().len() == 1
}

fn hex(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        text.push_str(&format!("\\x{byte:02x}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_one_harmless_line() {
        for (key, shown) in [
            (&b"plain key/1"[..], "plain key/1"),
            ("caf\u{e9} \u{1f4f7} '\"".as_bytes(), "caf\u{e9} \u{1f4f7} '\""),
            (b"a\nb\tc\0", "a\\x0ab\\x09c\\x00"),
            (b"\x1b[31m", "\\x1b[31m"),
            (b"back\\slash", "back\\\\slash"),
            (b"\xff\xc3(", "\\xff\\xc3("),
            ("a\u{202e}b".as_bytes(), "a\\xe2\\x80\\xaeb"),
        ] {
            assert_eq!(escape(key), shown);
        }
    }
}
