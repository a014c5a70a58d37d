//! Watching who comes, changes and leaves.
//!
//! Invariants:
//! - An event is reported when something changed. Repeated announcements of the same record and addresses are silent.
//! - The own node is never reported.
//! - The table of known nodes is bounded; what a stranger floods beyond it is dropped, logged once.
//! - A browse whose channel closed (the reader slept through 1,000 events) is opened again, with growing pauses. What is present is then
//!   compared with what was reported; a departure in between may go unreported: a sighting is a hint, an old one too.
//! - The question is asked anew every minute. The engine alone would ask ever more rarely, up to once an hour, and after a switch was off
//!   two boards can miss each other's only announcement: the one is not yet listening, and its question a moment later falls into
//!   the second in which the other may not repeat itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mdns_sd::{Receiver, ServiceEvent};
use tokio::time::Instant;

use crate::announce::{SERVICE_TYPE, instance_name};
use crate::discovery::Shared;
use crate::record::hex;
use crate::sighting::{Refusal, Sighting};

/// Most nodes known at a time. A LAN has a handful; the bound is against floods.
const KNOWN_LIMIT: usize = 256;
/// Pauses before a closed browse is opened again: doubled each time up to the longest.
const REOPEN_FIRST_MS: u64 = 100;
const REOPEN_LONGEST_MS: u64 = 10_000;
/// A node out of sight is asked for at least this often.
const ASK_AGAIN_S: u64 = 60;

/// A change among the nodes in sight.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A node is new, or its record or addresses changed.
    Seen(Sighting),
    /// The node of this id said goodbye, or has not been heard for its time to live (2 minutes), or the interface on which it was heard
    /// went down. It stays a member of its cluster.
    Gone(u64),
}

/// The open browse of a [`Discovery`](crate::Discovery).
pub struct Browser {
    shared: Arc<Shared>,
    channel: Option<Receiver<ServiceEvent>>,
    /// Opened by asking again; read once `channel` has been emptied and closed, so that no departure is lost between the two.
    successor: Option<Receiver<ServiceEvent>>,
    ask_again_at: Instant,
    reopen_at: Instant,
    reopen_pause: Duration,
    known: Known,
}

impl Browser {
    pub(crate) fn new(shared: Arc<Shared>) -> Browser {
        let mut browser = Browser {
            shared,
            channel: None,
            successor: None,
            ask_again_at: Instant::now(),
            reopen_at: Instant::now(),
            reopen_pause: Duration::from_millis(REOPEN_FIRST_MS),
            known: Known::default(),
        };
        // Asked before the first `next`, so that a node which browses and then announces misses nobody's answer.
        let _opened_or_told_by_next = browser.open();
        browser
    }

    /// The next change; None once the engine has ended. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let Some(channel) = &self.channel else {
                // A moment, not a pause: a caller that cancels often would start a pause anew each time.
                tokio::time::sleep_until(self.reopen_at).await;
                self.open()?;
                continue;
            };
            let received = tokio::select! {
                biased;
                received = channel.recv_async() => received,
                () = tokio::time::sleep_until(self.ask_again_at) => {
                    self.successor = self.ask().ok();
                    continue;
                }
            };
            match received {
                Ok(event) => {
                    if let Some(event) = self.judge(event) {
                        return Some(event);
                    }
                }
                Err(_closed) => self.channel = self.successor.take(),
            }
        }
    }

    fn open(&mut self) -> Option<()> {
        match self.ask() {
            Ok(channel) => self.channel = Some(channel),
            Err(mdns_sd::Error::DaemonShutdown) => return None,
            Err(why) => log::warn!(why:%; "mDNS browse did not open; trying again"),
        }
        self.reopen_at = Instant::now() + self.reopen_pause;
        self.reopen_pause = (self.reopen_pause * 2).min(Duration::from_millis(REOPEN_LONGEST_MS));
        Some(())
    }

    /// Asks the network, and has the engine repeat what it knows. A channel opened before is closed by it.
    fn ask(&mut self) -> mdns_sd::Result<Receiver<ServiceEvent>> {
        self.ask_again_at = Instant::now() + Duration::from_secs(ASK_AGAIN_S);
        self.shared.engine.browse(SERVICE_TYPE)
    }

    fn judge(&mut self, event: ServiceEvent) -> Option<Event> {
        match event {
            ServiceEvent::ServiceResolved(service) => {
                self.reopen_pause = Duration::from_millis(REOPEN_FIRST_MS);
                let instance = instance_of(&service.fullname);
                if self.shared.own_id().is_some_and(|own| instance == instance_name(own)) {
                    return None;
                }
                self.known.heard(instance, Sighting::read(&self.shared.scope, instance, &service))
            }
            ServiceEvent::ServiceRemoved(_, fullname) => self.known.left(instance_of(&fullname)),
            _ => None,
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ended_already_or_busy = self.shared.engine.stop_browse(SERVICE_TYPE);
        self.shared.browsing.store(false, Ordering::SeqCst);
    }
}

fn instance_of(fullname: &str) -> &str {
    fullname.strip_suffix(SERVICE_TYPE).and_then(|name| name.strip_suffix('.')).unwrap_or(fullname)
}

/// What has been reported, by instance name.
#[derive(Default)]
struct Known {
    nodes: BTreeMap<String, Result<Sighting, Refusal>>,
    full: bool,
}

impl Known {
    fn heard(&mut self, instance: &str, reading: Result<Sighting, Refusal>) -> Option<Event> {
        let before = self.nodes.get(instance);
        if before == Some(&reading) {
            return None;
        }
        if before.is_none() && self.nodes.len() == KNOWN_LIMIT {
            if !self.full {
                log::warn!(limit = KNOWN_LIMIT; "more nodes announce themselves than are kept; the rest is ignored");
            }
            self.full = true;
            return None;
        }
        let before = self.nodes.insert(instance.to_string(), reading.clone());
        match (before, reading) {
            (_, Ok(sighting)) => Some(Event::Seen(sighting)),
            (before, Err(why)) => {
                log::warn!(instance:% = instance.escape_debug(), why:%; "announcement refused");
                before.and_then(Result::ok).map(|sighting| Event::Gone(sighting.record.node_id))
            }
        }
    }

    fn left(&mut self, instance: &str) -> Option<Event> {
        let reading = self.nodes.remove(instance)?;
        self.full = false;
        let node_id = hex(instance, 16)? as u64;
        reading.ok().map(|_| Event::Gone(node_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Record, State};
    use crate::{Discovery, Scope};
    use tokio::time::timeout;

    fn sighting(node_id: u64, state: State) -> Sighting {
        let record = Record {
            protocol_version: 1,
            cluster_name: "garden".parse().unwrap(),
            cluster_id: None,
            node_id,
            node_name: "pi2".parse().unwrap(),
            state,
            board_hint: None,
        };
        Sighting { record, addresses: vec!["192.168.1.7:50051".parse().unwrap()] }
    }

    #[test]
    fn only_changes_are_reported() {
        let mut known = Known::default();
        let (blank, formed) = (sighting(7, State::Blank), sighting(7, State::Formed));
        let name = instance_name(7);
        assert_eq!(known.heard(&name, Ok(blank.clone())), Some(Event::Seen(blank.clone())));
        assert_eq!(known.heard(&name, Ok(blank)), None);
        assert_eq!(known.heard(&name, Ok(formed.clone())), Some(Event::Seen(formed.clone())));
        assert_eq!(known.heard(&name, Err(Refusal::Unreachable)), Some(Event::Gone(7)));
        assert_eq!(known.heard(&name, Err(Refusal::Unreachable)), None);
        assert_eq!(known.left(&name), None, "it was reported as gone");
        assert_eq!(known.heard(&name, Ok(formed.clone())), Some(Event::Seen(formed)));
        assert_eq!(known.left(&name), Some(Event::Gone(7)));
        assert_eq!(known.left(&name), None);
    }

    #[test]
    fn a_flood_is_cut_and_those_known_stay() {
        let mut known = Known::default();
        let seen = (0..10_000).filter(|id| known.heard(&instance_name(*id), Ok(sighting(*id, State::Blank))).is_some()).count();
        assert_eq!(seen, KNOWN_LIMIT);
        assert!(known.heard(&instance_name(0), Ok(sighting(0, State::Formed))).is_some(), "a known node's changes are still seen");
        assert!(known.left(&instance_name(0)).is_some());
        assert!(known.heard(&instance_name(9_999), Ok(sighting(9_999, State::Blank))).is_some(), "a place is free again");
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A node with an id of this process, on loopback.
    fn newcomer(which: u64) -> (Discovery, Record) {
        let discovery = Discovery::start(Scope::Loopback).unwrap();
        let record = sighting(which << 32 | u64::from(std::process::id()), State::Blank).record;
        discovery.announce(&record, "127.0.0.1:4711".parse().unwrap()).unwrap();
        (discovery, record)
    }

    /// The next event about `node_id`; other nodes may be running on this machine.
    async fn next_about(browser: &mut Browser, node_id: u64) -> Event {
        loop {
            match browser.next().await.expect("the engine runs") {
                Event::Seen(sighting) if sighting.record.node_id == node_id => return Event::Seen(sighting),
                Event::Gone(gone) if gone == node_id => return Event::Gone(gone),
                _ => {}
            }
        }
    }

    #[tokio::test]
    async fn a_closed_browse_opens_again_and_none_follows_the_end() {
        let discovery = Discovery::start(Scope::Loopback).unwrap();
        let mut browser = discovery.browse();
        discovery.shared.engine.stop_browse(SERVICE_TYPE).unwrap();
        let (_other, record) = newcomer(0x7e57);
        timeout(PATIENCE, next_about(&mut browser, record.node_id)).await.expect("the newcomer is seen");

        discovery.shutdown().await;
        let end = async { while browser.next().await.is_some() {} };
        timeout(PATIENCE, end).await.expect("the end is reported");
    }

    #[tokio::test]
    async fn asking_again_repeats_nothing_and_loses_nothing() {
        let discovery = Discovery::start(Scope::Loopback).unwrap();
        let mut browser = discovery.browse();
        let (other, record) = newcomer(0x7e58);
        timeout(PATIENCE, next_about(&mut browser, record.node_id)).await.expect("the newcomer is seen");

        for _ in 0..3 {
            let now = Instant::now();
            browser.ask_again_at = now;
            let repeated = timeout(Duration::from_millis(500), next_about(&mut browser, record.node_id)).await;
            assert!(repeated.is_err(), "{repeated:?}");
            assert!(browser.ask_again_at > now && browser.successor.is_none(), "it asked and reads the new answers");
        }
        other.shutdown().await;
        let gone = timeout(PATIENCE, next_about(&mut browser, record.node_id)).await.expect("its departure is seen");
        assert_eq!(gone, Event::Gone(record.node_id));
    }
}
