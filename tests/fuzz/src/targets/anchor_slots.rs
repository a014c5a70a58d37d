//! The anchor file.

use std::cell::OnceCell;

use raft::LogId;
use storage::{Anchor, AnchorRecord};

use super::sealed;
use crate::{script::Script, shelf::Shelf};

const SLOT_BYTES: usize = 4096;

thread_local! {
    static SHELF: OnceCell<Shelf> = const { OnceCell::new() };
}

/// A file that can be opened can be written, and then tells what was written.
pub fn anchor_slots(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut file = Vec::new();
    for _ in 0..2 {
        file.extend(slot(&mut script));
    }
    file.extend(script.rest());
    let path = SHELF.with(|shelf| shelf.get_or_init(Shelf::new).put("anchor", &file));
    let Ok(mut anchor) = Anchor::open(&path) else { return };
    let before = anchor.read().clone();
    let Some(index) = before.reached.index.checked_add(1) else { return };
    let next = AnchorRecord { reached: LogId { index, ..before.reached }, ..before };
    anchor.write(&next).expect("memory can be written");
    assert_eq!(Anchor::open(&path).expect("just written").read(), &next, "the newest record is not read back");
}

/// As a node writes it, or with whatever is there.
fn slot(script: &mut Script<'_>) -> Vec<u8> {
    let how = script.below(4);
    let piece = script.piece();
    let mut slot = match how {
        0..=1 => {
            let sealed = sealed(piece);
            [&(sealed.len() as u16).to_le_bytes()[..], &sealed].concat()
        }
        2 => [&(piece.len() as u16).to_le_bytes()[..], piece].concat(),
        _ => piece.to_vec(),
    };
    slot.resize(SLOT_BYTES, 0);
    slot
}
