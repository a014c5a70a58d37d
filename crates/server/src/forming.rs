//! From a blank node to a member: asks who is there, writes what formation decides, starts the engine.

use std::{sync::Arc, time::Duration};

use replica::{Formation, Plan, Step};
use storage::{Formation as Record, LogStore};
use tokio::task::spawn_blocking;

use crate::{config, membership::Entrance, node::Node};

/// An answer older than this says nothing of the present: the board may have been wiped since.
const FRESH_MS: u64 = 1_500;
const PERIOD_MS: u64 = 100;

/// Runs until the node belongs to a cluster.
pub async fn form(node: Arc<Node>, record: Record, entrance: Entrance) {
    let plan = match &node.config.formation {
        config::Formation::Peers(peers) => Plan::Peers { addresses: peers.len() },
        config::Formation::Expect(nodes) => Plan::Expect { nodes: nodes.get().into() },
        config::Formation::Pending => Plan::Wait,
    };
    if let Some(promised) = &record.promised {
        node.promised(promised.clone());
    }
    let mut formation = Formation::new(record, plan);
    let mut changes = node.book.changes();
    loop {
        // A promise is given only to those behind the operator's own list; once given, it is collected from wherever they are.
        let listed_only = matches!(plan, Plan::Peers { .. }) && formation.record().promised.is_none();
        let seen = node.book.seen(Duration::from_millis(FRESH_MS), listed_only);
        let seen: Vec<_> = seen.into_iter().map(|(_, identity)| identity.sighting()).collect();
        if let Some(started) = node.take_start().filter(|_| formation.record().started.is_none() && formation.record().promised.is_none()) {
            let record = formation.with_start(started);
            if !save(&entrance, &record).await {
                return;
            }
            formation.written(record);
        }
        let heard = node.take_hello().map(|hello| formation.heard_started(hello.from, hello.cluster_id, &hello.cluster_name));
        match heard.filter(|step| matches!(step, Step::Start(_))).unwrap_or_else(|| formation.step(&seen)) {
            Step::Wait(_) if let Some(own) = node.book.listed_self() => {
                node.wait_for(format!("--peers names this node itself ({own}); list only the others"));
            }
            Step::Wait(reason) => node.wait_for(reason),
            Step::Promise(ids) => {
                let record = formation.with_promise(ids.clone());
                if !save(&entrance, &record).await {
                    return;
                }
                formation.written(record);
                log::info!(nodes = ids.len(); "promised to form a cluster");
                node.promised(ids);
                continue;
            }
            Step::Start(started) => {
                let record = formation.with_start(started);
                if !save(&entrance, &record).await {
                    return;
                }
                formation.written(record);
                continue;
            }
            Step::Formed => {
                let started = formation.record().started.clone().expect("a formed node has started");
                return entrance.enter(node, started).await;
            }
        }
        let _ = tokio::time::timeout(Duration::from_millis(PERIOD_MS), changes.changed()).await;
    }
}

/// Durable before anybody hears of it. False if the process is about to end.
async fn save(entrance: &Entrance, record: &Record) -> bool {
    let (log, record): (Arc<dyn LogStore>, Record) = (entrance.log.clone(), record.clone());
    match spawn_blocking(move || log.save_formation(&record)).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            entrance.fatal.report("formation", &error);
            false
        }
        Err(_) => false,
    }
}
