//! Handshakes under way with callers whom nobody knows yet.
//!
//! An honest caller is done within milliseconds; whoever wants to be in the way sits there and says nothing. So a full table does not turn a newcomer
//! away: it takes the newcomer in place of whoever has been there longest, of those from the address that holds most. A crowd from many addresses that
//! begins handshakes and never ends them displaces itself.
//!
//! Invariants:
//! - there are never more than [`HANDSHAKES_MAX`] under way, and of one address, this board itself excepted, never more than
//!   [`HANDSHAKES_PER_ADDRESS_MAX`];
//! - a newcomer is always taken.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex},
};

use tokio::sync::Notify;

/// Each costs a signature, about a millisecond on a small board.
pub const HANDSHAKES_MAX: usize = 64;
/// Of one address.
pub const HANDSHAKES_PER_ADDRESS_MAX: usize = 16;

#[derive(Debug, Default)]
pub struct Greetings {
    table: Arc<Mutex<Table>>,
}

/// A handshake under way; its place is free again when this is dropped.
#[derive(Debug)]
pub struct Greeting {
    number: u64,
    displaced: Arc<Notify>,
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// By number, that is by age.
    under_way: BTreeMap<u64, (IpAddr, Arc<Notify>)>,
}

impl Greetings {
    pub fn begin(&self, address: IpAddr) -> Greeting {
        let address = address.to_canonical();
        let displaced = Arc::new(Notify::new());
        let mut table = self.table.lock().unwrap();
        let from_here = table.under_way.values().filter(|(from, _)| *from == address).count();
        if from_here >= HANDSHAKES_PER_ADDRESS_MAX && !address.is_loopback() {
            table.displace_oldest_of(address);
        } else if table.under_way.len() >= HANDSHAKES_MAX {
            let crowded = table.most_crowded();
            table.displace_oldest_of(crowded);
        }
        table.next += 1;
        let number = table.next;
        table.under_way.insert(number, (address, displaced.clone()));
        Greeting { number, displaced, table: self.table.clone() }
    }
}

impl Greeting {
    /// Until a newcomer has its place.
    pub async fn displaced(&self) {
        self.displaced.notified().await;
    }
}

impl Drop for Greeting {
    fn drop(&mut self) {
        self.table.lock().unwrap().under_way.remove(&self.number);
    }
}

impl Table {
    /// The address that holds most; of several, the one that has held one for longest.
    fn most_crowded(&self) -> IpAddr {
        let mut held: BTreeMap<IpAddr, (usize, std::cmp::Reverse<u64>)> = BTreeMap::new();
        for (number, (address, _)) in &self.under_way {
            held.entry(*address).or_insert((0, std::cmp::Reverse(*number))).0 += 1;
        }
        held.into_iter().max_by_key(|(_, crowd)| *crowd).map(|(address, _)| address).expect("a full table is not empty")
    }

    fn displace_oldest_of(&mut self, address: IpAddr) {
        let oldest = self.under_way.iter().find(|(_, (from, _))| *from == address).map(|(number, _)| *number);
        if let Some((_, displaced)) = oldest.and_then(|oldest| self.under_way.remove(&oldest)) {
            displaced.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn from(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    async fn is_displaced(greeting: &Greeting) -> bool {
        timeout(Duration::ZERO, greeting.displaced()).await.is_ok()
    }

    fn under_way(greetings: &Greetings) -> usize {
        greetings.table.lock().unwrap().under_way.len()
    }

    #[tokio::test]
    async fn one_address_holds_so_many_and_displaces_its_own_oldest() {
        let greetings = Greetings::default();
        let camera = greetings.begin(from(2));
        let flood: Vec<Greeting> = (0..HANDSHAKES_PER_ADDRESS_MAX).map(|_| greetings.begin(from(1))).collect();
        for greeting in &flood {
            assert!(!is_displaced(greeting).await, "exactly so many");
        }
        let _mapped = greetings.begin("::ffff:10.0.0.1".parse().unwrap());
        assert!(is_displaced(&flood[0]).await && !is_displaced(&flood[1]).await && !is_displaced(&camera).await);
        assert_eq!(under_way(&greetings), 1 + HANDSHAKES_PER_ADDRESS_MAX);
        drop(flood);
        assert_eq!(under_way(&greetings), 2);
    }

    #[tokio::test]
    async fn a_crowd_from_many_addresses_displaces_itself() {
        let greetings = Greetings::default();
        let camera = greetings.begin(from(200));
        let mut crowd: Vec<Greeting> = (1..HANDSHAKES_MAX).map(|number| greetings.begin(from((number % 32) as u8))).collect();
        assert_eq!(under_way(&greetings), HANDSHAKES_MAX);
        for _ in 0..10 {
            crowd.extend((0..32).map(|number| greetings.begin(from(number))));
        }
        assert!(!is_displaced(&camera).await, "who came alone, and first, is let be");
        assert_eq!(under_way(&greetings), HANDSHAKES_MAX);
        let phone = greetings.begin(from(201));
        assert!(!is_displaced(&phone).await && !is_displaced(&camera).await);
        let mut displaced = 0;
        for greeting in &crowd {
            displaced += usize::from(is_displaced(greeting).await);
        }
        assert_eq!(crowd.len() - displaced, HANDSHAKES_MAX - 2, "each lost place had a taker");
    }

    #[tokio::test]
    async fn this_board_itself_is_not_counted_by_address() {
        let greetings = Greetings::default();
        let local: Vec<Greeting> = (0..HANDSHAKES_MAX).map(|_| greetings.begin([127, 0, 0, 1].into())).collect();
        assert!(!is_displaced(&local[0]).await);
        let _one_more = greetings.begin([127, 0, 0, 1].into());
        assert!(is_displaced(&local[0]).await, "but there are only so many");
    }
}
