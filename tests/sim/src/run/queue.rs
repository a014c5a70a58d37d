//! What is to happen, by virtual time; at the same moment in the order in which it was put in.

use std::{cmp::Ordering, collections::BinaryHeap};

#[derive(Debug)]
pub struct Queue<E> {
    heap: BinaryHeap<Slot<E>>,
    posted: u64,
}

#[derive(Debug)]
struct Slot<E> {
    at: u64,
    number: u64,
    event: E,
}

impl<E> Default for Queue<E> {
    fn default() -> Queue<E> {
        Queue { heap: BinaryHeap::new(), posted: 0 }
    }
}

impl<E> Queue<E> {
    pub fn post(&mut self, at: u64, event: E) {
        self.posted += 1;
        self.heap.push(Slot { at, number: self.posted, event });
    }

    pub fn pop(&mut self) -> Option<(u64, E)> {
        self.heap.pop().map(|slot| (slot.at, slot.event))
    }

    /// What is still to happen, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &E> {
        self.heap.iter().map(|slot| &slot.event)
    }
}

impl<E> PartialEq for Slot<E> {
    fn eq(&self, other: &Slot<E>) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Slot<E> {}

impl<E> PartialOrd for Slot<E> {
    fn partial_cmp(&self, other: &Slot<E>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The earliest is the greatest: the heap gives out its greatest first.
impl<E> Ord for Slot<E> {
    fn cmp(&self, other: &Slot<E>) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}
