//! Asking candidates who they are.
//!
//! Before this node belongs to a cluster it asks everybody over and over: that is how promises travel. After, it asks only where an
//! answer could lead to a member it has not heard for a while, or does not reach: one that reaches us from a new address is heard and
//! would wait for our answers for ever. One that hears no leader asks everybody: what it knows of the membership may be old, or nothing. A
//! cluster whose members all talk asks nobody.

use std::{sync::Arc, time::Duration};

use proto::v1 as wire;
use raft::NodeId;
use tokio::{task::JoinSet, time::timeout};

use super::{Address, Book, Dialed, dial};
use crate::{convert, node::Node};

const UNFORMED_PERIOD_MS: u64 = 200;
const FORMED_PERIOD_MS: u64 = 250;
/// Between two questions to an address that leads nowhere.
const FORMED_PATIENCE_MS: u64 = 500;
const QUESTION_TIMEOUT_MS: u64 = 1_500;
/// A member not heard for this long is looked for.
const MISSING_AFTER_MS: u64 = 1_000;

/// Runs until the node stops.
pub async fn locate(node: Arc<Node>) {
    loop {
        let formed = node.member().is_some();
        let due = if formed { due_when_formed(&node) } else { node.book.to_ask(Duration::from_millis(UNFORMED_PERIOD_MS), |_| true) };
        let mut questions = JoinSet::new();
        for address in due {
            questions.spawn(ask(node.clone(), address));
        }
        if formed {
            questions.join_all().await;
        } else {
            // A dead address must not slow down the forming of the others.
            questions.detach_all();
        }
        tokio::time::sleep(Duration::from_millis(if formed { FORMED_PERIOD_MS } else { UNFORMED_PERIOD_MS })).await;
    }
}

async fn ask(node: Arc<Node>, address: Address) {
    let question = async {
        let Dialed { mut client, proven } = dial(&node.guard, &address).await.ok()?;
        let me = convert::identity_to_wire(&node.identity());
        let answer = client.identify(wire::IdentifyRequest { me: Some(me) }).await.ok()?;
        let identity = convert::identity_from_wire(answer.into_inner().me?).ok()?;
        proven.is_none_or(|proven| proven == identity.id).then_some(identity)
    };
    match timeout(Duration::from_millis(QUESTION_TIMEOUT_MS), question).await {
        Ok(Some(identity)) => node.book.answered(&address, identity),
        _ => node.book.silent(&address),
    }
}

fn due_when_formed(node: &Node) -> Vec<Address> {
    let Some(member) = node.member() else { return Vec::new() };
    let silent = |book: &Book, id| book.since_contact(id).is_none_or(|since| since > Duration::from_millis(MISSING_AFTER_MS));
    let missing = |book: &Book, id| !book.is_reached(id) || silent(book, id);
    let others = || member.engine.status().membership.clone();
    // A newcomer may have been greeted by a follower: the leader hears of it only if it asks, and it does not know yet who is a member. Nor
    // does one that a leader found first know where that leader listens, from whom it may have to fetch all there is.
    let without_address = |leader: NodeId| leader != node.id && node.book.addresses_of(leader).is_empty();
    if member.engine.status().leader.is_none_or(without_address) {
        return node
            .book
            .to_ask(Duration::from_millis(FORMED_PATIENCE_MS), |identity| identity.is_none_or(|identity| identity.id != node.id));
    }
    let lost: Vec<_> = others().members().filter(|id| *id != node.id && missing(&node.book, *id)).collect();
    if lost.is_empty() {
        return Vec::new();
    }
    // Whoever answered as a member that is well needs no second look; all others might be one of the lost by now.
    let well = |id| others().contains(id) && !lost.contains(&id);
    node.book.to_ask(Duration::from_millis(FORMED_PATIENCE_MS), |identity| {
        identity.is_none_or(|identity| identity.id != node.id && !well(identity.id))
    })
}
