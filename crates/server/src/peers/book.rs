//! The address book: who was found where.
//!
//! Invariants:
//! - an address counts for a node only after that node answered there; what mDNS, a list, a caller or yesterday's file says is
//!   only a candidate to be asked;
//! - an address that answers with another identity belongs to that one from then on; nothing is ever removed from the
//!   membership because of it;
//! - the book is bounded; beyond the bound the stalest unproven candidate goes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Mutex,
    time::{Duration, Instant},
};

use raft::NodeId;
use tokio::sync::watch;

use super::{Address, Identity};

/// Candidates kept, proven ones included.
const CANDIDATES_MAX: usize = 256;
/// Callers remembered for people to see; beyond it the one not heard for longest goes.
const CALLERS_MAX: usize = 32;

/// How an address came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Written by the operator: always asked again.
    Fixed,
    /// Proven in an earlier run.
    Remembered,
    /// From mDNS or from a caller.
    Heard,
}

#[derive(Debug)]
pub struct Book {
    me: NodeId,
    pages: Mutex<Pages>,
    /// Counts changes that somebody may wait for.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Pages {
    candidates: BTreeMap<Address, Candidate>,
    names: BTreeMap<NodeId, String>,
    /// On which board a node said to run, also in earlier runs of this one.
    boards: BTreeMap<NodeId, u64>,
    contacts: BTreeMap<NodeId, Instant>,
    /// Those to whom our stream is up.
    reached: BTreeSet<NodeId>,
    /// Who asked us who we are: its own word, only ever shown.
    callers: BTreeMap<NodeId, (Address, Identity, Instant)>,
}

#[derive(Debug)]
struct Candidate {
    origin: Origin,
    /// Who answered last, and when.
    answer: Option<(Identity, Instant)>,
    /// Proven in an earlier run.
    remembered: Option<NodeId>,
    asked: Option<Instant>,
    suggested: Instant,
}

impl Book {
    pub fn new(me: NodeId) -> Book {
        Book { me, pages: Mutex::default(), changes: watch::Sender::new(0) }
    }

    /// Somebody may listen there.
    pub fn suggest(&self, address: Address, origin: Origin) {
        let mut pages = self.pages.lock().unwrap();
        let now = Instant::now();
        if let Some(known) = pages.candidates.get_mut(&address) {
            known.suggested = now;
            if origin == Origin::Fixed {
                known.origin = Origin::Fixed;
            }
            return;
        }
        if pages.candidates.len() >= CANDIDATES_MAX {
            let stalest = |pages: &Pages| {
                let loose = pages.candidates.iter().filter(|(_, known)| known.origin == Origin::Heard && known.answer.is_none());
                loose.min_by_key(|(_, known)| known.suggested).map(|(address, _)| address.clone())
            };
            match stalest(&pages) {
                Some(address) => drop(pages.candidates.remove(&address)),
                None => return,
            }
        }
        let fresh = Candidate { origin, answer: None, remembered: None, asked: None, suggested: now };
        pages.candidates.insert(address, fresh);
        drop(pages);
        self.changed();
    }

    /// An earlier run of this node proved that `id` listens there.
    pub fn recall(&self, id: NodeId, name: String, board: Option<u64>, addresses: impl IntoIterator<Item = Address>) {
        for address in addresses {
            self.suggest(address.clone(), Origin::Remembered);
            if let Some(known) = self.pages.lock().unwrap().candidates.get_mut(&address) {
                known.remembered = Some(id);
            }
        }
        let mut pages = self.pages.lock().unwrap();
        pages.names.insert(id, name);
        if let Some(board) = board {
            pages.boards.insert(id, board);
        }
    }

    /// A node answered there.
    pub fn answered(&self, address: &Address, identity: Identity) {
        let mut pages = self.pages.lock().unwrap();
        let now = Instant::now();
        // An address that answers with ever new ids must not fill the memory.
        if pages.names.len() < CANDIDATES_MAX || pages.names.contains_key(&identity.id) {
            pages.names.insert(identity.id, identity.name.clone());
            if let Some(board) = identity.board {
                pages.boards.insert(identity.id, board);
            }
            pages.contacts.insert(identity.id, now);
        }
        let Some(known) = pages.candidates.get_mut(address) else { return };
        let news = known.answer.as_ref().is_none_or(|(before, _)| *before != identity);
        known.answer = Some((identity, now));
        known.remembered = None;
        drop(pages);
        if news {
            self.changed();
        }
    }

    /// Nobody of ours answered there just now.
    pub fn silent(&self, address: &Address) {
        if let Some(known) = self.pages.lock().unwrap().candidates.get_mut(address) {
            known.asked = Some(Instant::now());
        }
    }

    /// A member was heard, on whatever way.
    pub fn contact(&self, id: NodeId) {
        self.pages.lock().unwrap().contacts.insert(id, Instant::now());
    }

    /// Our stream to a member came up, or went down.
    pub fn reached(&self, id: NodeId, up: bool) {
        let reached = &mut self.pages.lock().unwrap().reached;
        let _ = if up { reached.insert(id) } else { reached.remove(&id) };
    }

    pub fn is_reached(&self, id: NodeId) -> bool {
        self.pages.lock().unwrap().reached.contains(&id)
    }

    /// Addresses to ask who listens there: those that no answer was had from for `patience`, and that are wanted.
    pub fn to_ask(&self, patience: Duration, wanted: impl Fn(Option<&Identity>) -> bool) -> Vec<Address> {
        let mut pages = self.pages.lock().unwrap();
        let now = Instant::now();
        let mut due = Vec::new();
        for (address, known) in &mut pages.candidates {
            let answer = known.answer.as_ref();
            let rested = known.asked.is_none_or(|asked| now - asked >= patience) && answer.is_none_or(|(_, at)| now - *at >= patience);
            if rested && wanted(answer.map(|(identity, _)| identity)) {
                known.asked = Some(now);
                due.push(address.clone());
            }
        }
        due
    }

    /// A node asked who we are and said who it is.
    pub fn called(&self, address: Address, identity: Identity) {
        let mut pages = self.pages.lock().unwrap();
        pages.callers.insert(identity.id, (address, identity, Instant::now()));
        if pages.callers.len() > CALLERS_MAX
            && let Some(quietest) = pages.callers.iter().min_by_key(|(_, (.., at))| *at).map(|(id, _)| *id)
        {
            pages.callers.remove(&quietest);
        }
    }

    /// Who called within `freshness`.
    pub fn callers(&self, freshness: Duration) -> Vec<(Address, Identity)> {
        let pages = self.pages.lock().unwrap();
        let fresh = pages.callers.values().filter(|(.., at)| at.elapsed() <= freshness);
        fresh.map(|(address, identity, _)| (address.clone(), identity.clone())).collect()
    }

    /// Others that answered within `freshness`, the latest word of each; not this node itself. `listed_only`: just those behind an
    /// address that the operator wrote down.
    pub fn seen(&self, freshness: Duration, listed_only: bool) -> Vec<(Address, Identity)> {
        let pages = self.pages.lock().unwrap();
        let mut latest: BTreeMap<NodeId, (Instant, &Address, &Identity)> = BTreeMap::new();
        for (address, known) in &pages.candidates {
            if let Some((identity, at)) = &known.answer
                && identity.id != self.me
                && at.elapsed() <= freshness
                && (known.origin == Origin::Fixed || !listed_only)
                && latest.get(&identity.id).is_none_or(|(before, ..)| before < at)
            {
                latest.insert(identity.id, (*at, address, identity));
            }
        }
        latest.into_values().map(|(_, address, identity)| (address.clone(), identity.clone())).collect()
    }

    /// An address that the operator wrote down for another node, and that is this one's.
    pub fn listed_self(&self) -> Option<Address> {
        let pages = self.pages.lock().unwrap();
        let mut listed = pages.candidates.iter().filter(|(_, known)| known.origin == Origin::Fixed);
        listed
            .find(|(_, known)| known.answer.as_ref().is_some_and(|(identity, _)| identity.id == self.me))
            .map(|(address, _)| address.clone())
    }

    /// Where a node may be reached, the latest proof first.
    pub fn addresses_of(&self, id: NodeId) -> Vec<Address> {
        let pages = self.pages.lock().unwrap();
        let mut found: Vec<(Option<Instant>, Address)> = Vec::new();
        for (address, known) in &pages.candidates {
            match &known.answer {
                Some((identity, at)) if identity.id == id => found.push((Some(*at), address.clone())),
                None if known.remembered == Some(id) => found.push((None, address.clone())),
                _ => {}
            }
        }
        found.sort_by_key(|(proven, _)| std::cmp::Reverse(*proven));
        found.into_iter().map(|(_, address)| address).collect()
    }

    /// Whether a node has answered at this address, on whatever port.
    pub fn has_node_at(&self, address: IpAddr) -> bool {
        let pages = self.pages.lock().unwrap();
        let mut proven = pages.candidates.iter().filter(|(_, known)| known.answer.is_some() || known.remembered.is_some());
        proven.any(|(other, _)| other.is_at(address))
    }

    /// As it was told last; of one that never answered, what it said of itself when it called.
    pub fn name_of(&self, id: NodeId) -> Option<String> {
        let pages = self.pages.lock().unwrap();
        let known = pages.names.get(&id).filter(|name| !name.is_empty());
        known.or_else(|| pages.callers.get(&id).map(|(_, identity, _)| &identity.name)).cloned()
    }

    pub fn board_of(&self, id: NodeId) -> Option<u64> {
        self.pages.lock().unwrap().boards.get(&id).copied()
    }

    /// Time since a node was last heard in this run.
    pub fn since_contact(&self, id: NodeId) -> Option<Duration> {
        self.pages.lock().unwrap().contacts.get(&id).map(Instant::elapsed)
    }

    /// Counts changes; wait on it instead of polling.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::PROTOCOL_VERSION;

    fn identity(id: u64, name: &str) -> Identity {
        Identity {
            protocol_version: PROTOCOL_VERSION,
            id: NodeId(id),
            boot: 1,
            cluster_name: "home".into(),
            cluster_id: None,
            promised: None,
            name: name.into(),
            version: String::new(),
            port: 7,
            board: None,
        }
    }

    #[test]
    fn one_that_called_and_died_before_it_answered_keeps_its_name() {
        let book = Book::new(NodeId(1));
        assert_eq!(book.name_of(NodeId(2)), None);
        book.called(Address::from("10.0.0.2:7".to_owned()), identity(2, "pi2"));
        assert_eq!(book.name_of(NodeId(2)).as_deref(), Some("pi2"));
        book.answered(&Address::from("10.0.0.2:7".to_owned()), identity(2, "pi2-renamed"));
        assert_eq!(book.name_of(NodeId(2)).as_deref(), Some("pi2-renamed"), "what it answers counts for more than what it called itself");
    }
}
