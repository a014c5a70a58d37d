//! DER as a tree, so that an edit inside leaves the lengths around it right and the bytes get as far as the field that was edited.

use crate::script::Script;

/// Deeper is left as it is; nothing here is.
const DEPTH_MAX: usize = 12;
const EDITS_MAX: u64 = 6;

/// One element.
#[derive(Clone)]
struct Element {
    tag: u8,
    content: Content,
}

#[derive(Clone)]
enum Content {
    Bytes(Vec<u8>),
    Elements(Vec<Element>),
}

/// `der` with a few edits: of bytes wherever they are, or of elements.
pub fn edited(der: &[u8], script: &mut Script<'_>) -> Vec<u8> {
    if script.flag() {
        return edited_bytes(der, script);
    }
    let Some(mut elements) = read(der, DEPTH_MAX) else { return der.to_vec() };
    for _ in 0..script.below(EDITS_MAX) {
        let mut place = usize::from(script.byte());
        edit(&mut elements, &mut place, script);
    }
    write(&elements)
}

/// Tag and content of the first element, and what follows it.
pub fn first(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [tag, length, ..] = *der else { return None };
    let (header, length) = match length {
        0..=0x7f => (2, usize::from(length)),
        0x81 => (3, usize::from(*der.get(2)?)),
        0x82 => (4, usize::from(*der.get(2)?) << 8 | usize::from(*der.get(3)?)),
        _ => return None,
    };
    Some((tag, der.get(header..header + length)?, &der[header + length..]))
}

pub fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    let header = match content.len() {
        0..0x80 => vec![tag, low],
        0x80..0x100 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [&header, content].concat()
}

pub const SEQUENCE: u8 = 0x30;
pub const BIT_STRING: u8 = 0x03;

/// With a few pieces written over, cut out or put in.
pub fn edited_bytes(original: &[u8], script: &mut Script<'_>) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for _ in 0..script.below(EDITS_MAX) {
        let place = (usize::from(script.byte()) << 8 | usize::from(script.byte())) % (bytes.len() + 1);
        let rest = bytes.len() - place;
        match script.below(3) {
            0 => {
                let piece = script.piece();
                let end = place + piece.len().min(rest);
                bytes.splice(place..end, piece.iter().copied());
            }
            1 => drop(bytes.drain(place..place + usize::from(script.byte()).min(rest))),
            _ => drop(bytes.splice(place..place, script.piece().iter().copied())),
        }
    }
    bytes
}

/// The element at `place`, counted from the front with all that are inside of others. What is left of `place` was not found.
fn edit(elements: &mut Vec<Element>, place: &mut usize, script: &mut Script<'_>) -> bool {
    for at in 0..elements.len() {
        if *place == 0 {
            match script.below(6) {
                0 => drop(elements.remove(at)),
                1 => elements.insert(at, elements[at].clone()),
                2 => elements[at].tag = script.byte(),
                3 => {
                    let other = usize::from(script.byte()) % elements.len();
                    elements.swap(at, other);
                }
                4 => elements[at].content = Content::Bytes(script.piece().to_vec()),
                _ => {
                    let bytes = edited_bytes(&written(&elements[at].content), script);
                    elements[at].content = Content::Bytes(bytes);
                }
            }
            return true;
        }
        *place -= 1;
        if let Content::Elements(inner) = &mut elements[at].content
            && edit(inner, place, script)
        {
            return true;
        }
    }
    false
}

/// None unless it is all elements.
fn read(mut der: &[u8], depth: usize) -> Option<Vec<Element>> {
    let mut elements = Vec::new();
    while !der.is_empty() {
        let (tag, content, rest) = first(der)?;
        // An extension is DER inside of an OCTET STRING.
        let may_hold_more = (tag & CONSTRUCTED != 0 || tag == OCTET_STRING) && !content.is_empty() && depth > 0;
        let inner = may_hold_more.then(|| read(content, depth - 1)).flatten();
        elements.push(Element { tag, content: inner.map_or_else(|| Content::Bytes(content.to_vec()), Content::Elements) });
        der = rest;
    }
    Some(elements)
}

const CONSTRUCTED: u8 = 0x20;
const OCTET_STRING: u8 = 0x04;

fn write(elements: &[Element]) -> Vec<u8> {
    elements.iter().flat_map(|inner| element(inner.tag, &written(&inner.content))).collect()
}

fn written(content: &Content) -> Vec<u8> {
    match content {
        Content::Bytes(bytes) => bytes.clone(),
        Content::Elements(elements) => write(elements),
    }
}
