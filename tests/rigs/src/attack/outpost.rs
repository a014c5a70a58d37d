//! Where an attack is made from.

use std::net::Ipv4Addr;

use tokio::runtime;
use tokio::task::spawn_blocking;

use crate::lan::{Board, Namespace};

/// Below the nodes, and not so low that other work on this machine leaves it nothing.
const NICENESS: i32 = 10;

/// A board of the LAN that belongs to somebody else.
#[derive(Clone)]
pub struct Outpost {
    pub network: Namespace,
    pub address: Ipv4Addr,
}

impl Outpost {
    pub fn on(board: &Board) -> Outpost {
        Outpost { network: board.network.clone(), address: board.address }
    }

    /// Does `work` there, sockets and all. It ends with its threads.
    pub async fn run<T: Send + 'static, F: Future<Output = T>>(&self, work: impl FnOnce() -> F + Send + 'static) -> T {
        let network = self.network.clone();
        let inside = move || {
            let _refused_to_nobody = rustix::process::nice(NICENESS);
            let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
            runtime.block_on(work())
        };
        let done = spawn_blocking(move || network.run(inside)).await;
        done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// Further addresses of the same machine, from `first` on in the last byte.
    pub fn take_addresses(&self, first: u8, count: u8) -> Vec<Ipv4Addr> {
        let [a, b, c, _] = self.address.octets();
        let addresses: Vec<Ipv4Addr> = (first..first + count).map(|last| Ipv4Addr::new(a, b, c, last)).collect();
        let commands: String = addresses.iter().map(|address| format!("addr add {address}/24 dev eth0\n")).collect();
        self.network.ip(&commands).expect("an interface takes addresses");
        addresses
    }
}
