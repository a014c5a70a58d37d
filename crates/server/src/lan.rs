//! The node's part on the LAN: announces itself by mDNS and notes who else does. Hints only; each is asked who it is.

use std::{
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use discovery::{Discovery, Event, PROTOCOL_VERSION, Record, State};

use crate::{
    config::Listen,
    node::Node,
    peers::{Address, Origin},
};

const START_RETRY_MS: u64 = 30_000;
const STATE_POLL_MS: u64 = 200;

/// Runs until the node stops; then says goodbye, within a second.
pub async fn announce(node: Arc<Node>, listen: SocketAddr) {
    let mut told = false;
    let mut papers = node.guard.watch();
    loop {
        let closed = papers.borrow_and_update().is_some();
        let scope = if closed { &node.config.network.mdns_when_closed } else { &node.config.network.mdns };
        let moves = async {
            let _ = papers.wait_for(|secured| secured.is_some() != closed).await;
        };
        let Some(scope) = scope.clone() else {
            tokio::select! {
                () = moves => continue,
                () = node.stopped() => return,
            }
        };
        match Discovery::start(scope) {
            Ok(discovery) => {
                let moved = tokio::select! {
                    ended = take_part(&node, &discovery, here(&node, listen)) => {
                        if let Err(error) = ended {
                            log::warn!(error:%; "mDNS stopped working; trying again");
                        }
                        false
                    }
                    () = moves => true,
                };
                discovery.shutdown().await;
                if moved {
                    continue;
                }
            }
            Err(error) if !told => {
                log::warn!(error:%; "mDNS is not available; trying again in the background, and --peers HOST:PORT,... does without it");
                told = true;
            }
            Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(START_RETRY_MS)) => {}
            () = node.stopped() => return,
        }
    }
}

/// Where others reach this node.
fn here(node: &Node, listen: SocketAddr) -> SocketAddr {
    match node.listen() {
        Listen::Loopback => listen,
        Listen::Any => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), listen.port()),
    }
}

async fn take_part(node: &Arc<Node>, discovery: &Discovery, listen: SocketAddr) -> Result<(), discovery::Error> {
    let mut browser = discovery.browse();
    let mut announced = record(node);
    discovery.announce(&announced, listen)?;
    let mut poll = tokio::time::interval(Duration::from_millis(STATE_POLL_MS));
    let mut formed = node.formed();
    loop {
        tokio::select! {
            event = browser.next() => match event {
                Some(Event::Seen(sighting)) => {
                    for address in sighting.addresses {
                        node.book.suggest(Address::from(address), Origin::Heard);
                    }
                }
                // A goodbye never removes anybody: a member that left the air is still a member.
                Some(Event::Gone(_)) => {}
                None => return Ok(()),
            },
            _ = poll.tick(), if node.member().is_none() => {
                let now = record(node);
                if now != announced {
                    discovery.update(&now)?;
                    announced = now;
                }
            }
            _ = formed.changed() => {
                announced = record(node);
                discovery.update(&announced)?;
            }
            () = node.stopped() => return Ok(()),
        }
    }
}

fn record(node: &Node) -> Record {
    let state = match (node.member().is_some(), node.has_promised()) {
        (true, _) => State::Formed,
        (false, true) => State::Promised,
        (false, false) => State::Blank,
    };
    Record {
        protocol_version: PROTOCOL_VERSION,
        cluster_name: node.config.cluster_name.clone(),
        cluster_id: node.member().map(|member| member.cluster_id),
        node_id: node.id.0,
        node_name: node.config.node_name.clone(),
        state,
        board_hint: node.board,
    }
}
