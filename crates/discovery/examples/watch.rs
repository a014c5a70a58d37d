//! Announces a made-up node and prints who is seen and when, for trying a network by hand.
//!
//!     cargo run --release -p discovery --example watch -- ID PORT SECONDS [INTERFACE...]
//!
//! ID is a number; 0 announces nothing. After half the time the announced node turns from blank to formed.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use discovery::{Discovery, PROTOCOL_VERSION, Record, Scope, State};
use tokio::time::{Instant, sleep_until, timeout_at};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let mut number = || args.next().ok_or("usage: watch ID PORT SECONDS [INTERFACE...]");
    let (node_id, port, seconds): (u64, u16, u64) = (number()?.parse()?, number()?.parse()?, number()?.parse()?);
    let discovery = Discovery::start(Scope::from_names(args.collect()))?;
    let mut record = Record {
        protocol_version: PROTOCOL_VERSION,
        cluster_name: "watch".parse()?,
        cluster_id: None,
        node_id,
        node_name: "watch".parse()?,
        state: State::Blank,
        board_hint: None,
    };
    let start = Instant::now();
    let end = start + Duration::from_secs(seconds);
    let mut browser = discovery.browse();
    if node_id != 0 {
        discovery.announce(&record, SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))?;
    }
    let changes = async {
        sleep_until(start + (end - start) / 2).await;
        if node_id != 0 {
            record.state = State::Formed;
            discovery.update(&record).expect("the engine runs");
        }
        std::future::pending::<()>().await
    };
    let print = async {
        while let Ok(Some(event)) = timeout_at(end, browser.next()).await {
            println!("{:6} ms {event:?}", start.elapsed().as_millis());
        }
    };
    tokio::select! { () = changes => {}, () = print => {} }
    let leaving = Instant::now();
    discovery.shutdown().await;
    println!("shut down in {} ms", leaving.elapsed().as_millis());
    Ok(())
}
