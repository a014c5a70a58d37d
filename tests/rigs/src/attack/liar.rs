//! Somebody who announces nodes by mDNS that are not his, or not there, or says that those are gone that are.

use std::net::Ipv4Addr;
use std::time::Duration;

use mdns_sd::{ServiceDaemon, ServiceInfo};

use super::Outpost;

const SERVICE_TYPE: &str = "_rusty-kv._tcp.local.";

const PAUSE: Duration = Duration::from_millis(5);

pub struct Liar {
    engine: ServiceDaemon,
}

impl Liar {
    pub async fn on(outpost: &Outpost) -> Liar {
        Liar { engine: outpost.run(|| async { ServiceDaemon::new().expect("an engine starts") }).await }
    }

    /// Says that node `id` is at `address`, with a record of these keys.
    pub fn announce(&self, id: u64, address: Ipv4Addr, port: u16, record: &[(&str, String)]) {
        let instance = format!("{id:016x}");
        let info = ServiceInfo::new(SERVICE_TYPE, &instance, &format!("rusty-kv-{instance}.local."), address.to_string(), port, record);
        let mut info = info.expect("it can be said");
        info.set_requires_probe(false);
        // Its queue is short, and what it says takes time.
        while let Err(busy) = self.engine.register(info.clone()) {
            assert!(matches!(busy, mdns_sd::Error::Again), "{busy}");
            std::thread::sleep(PAUSE);
        }
    }

    /// Says that node `id` has gone.
    pub fn say_goodbye(&self, id: u64) {
        let said = self.engine.unregister(&format!("{id:016x}.{SERVICE_TYPE}")).expect("the engine runs");
        let _whatever_came_of_it = said.recv_timeout(Duration::from_secs(2));
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        let _ended = self.engine.shutdown();
    }
}
