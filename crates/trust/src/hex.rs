//! Lower-case hex: one value has one spelling, so that equal texts are equal values.

pub fn encode(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// None unless all of `text` is pairs of lower-case digits.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// None unless `text` spells exactly `N` bytes.
pub fn decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    // Judged by its length first, so that a long text from outside costs no memory.
    if text.len() != 2 * N {
        return None;
    }
    decode(text)?.try_into().ok()
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";
