//! A board that comes back with an empty card takes the place of the member that it was.
//!
//! The leader begins it, and only when all of this holds: a newcomer shows the same board hint as exactly one voter did, that voter has been silent
//! for as long as it takes to be sure, no other live member shows the same hint, and no other newcomer does. The rest is a replacement as `member
//! replace` would begin it: the newcomer first becomes a learner.
//!
//! A newcomer is a blank board in sight; in a closed cluster, where a board first has to be let in, a learner that nothing else is to become of.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use raft::{Change, Intent, NodeId, RoleName};
use replica::Reply;

use crate::{
    engine::{EngineStatus, Request},
    node::Node,
    services::pending_nodes,
};

const PERIOD_MS: u64 = 1_000;
/// Who was heard this recently lives.
const ALIVE_MS: u64 = 30_000;

/// Runs until the node stops.
pub async fn replace_returned(node: Arc<Node>) {
    let Some(patience) = node.config.replace_after else { return };
    // Since when this leader has not heard a voter: what was before it led, it cannot know.
    let mut silent: BTreeMap<NodeId, Instant> = BTreeMap::new();
    while !node.is_stopping() {
        tokio::time::sleep(Duration::from_millis(PERIOD_MS)).await;
        let Some(member) = node.member() else { continue };
        let status = member.engine.status();
        if status.role != RoleName::Leader || !status.settled_leader {
            silent.clear();
            continue;
        }
        note_silence(&node, &status, &mut silent);
        let Some((old, new)) = candidate(&node, &status, &silent, patience) else { continue };
        let change = Change::AddLearner(new, Intent::Replace(old));
        let Ok(answer) = member.engine.request(|reply| Request::Change { change, reply }) else { continue };
        if let Ok(Reply::Changed(_)) = answer.await {
            log::info!(old:% = old, new:% = new; "a board came back as a new node and takes the place of the member that it was");
        }
    }
}

fn note_silence(node: &Node, status: &EngineStatus, silent: &mut BTreeMap<NodeId, Instant>) {
    let alive = |id: NodeId| node.book.since_contact(id).is_some_and(|since| since < Duration::from_millis(ALIVE_MS));
    silent.retain(|id, _| status.membership.voters.contains(id) && !alive(*id));
    for id in status.membership.voters.iter().filter(|id| **id != node.id && !alive(**id)) {
        silent.entry(*id).or_insert_with(Instant::now);
    }
}

/// The voter to be replaced, and by whom.
fn candidate(node: &Node, status: &EngineStatus, silent: &BTreeMap<NodeId, Instant>, patience: Duration) -> Option<(NodeId, NodeId)> {
    if status.changing {
        return None;
    }
    let hint_of = |id: NodeId| if id == node.id { node.board } else { node.book.board_of(id) };
    let blank = pending_nodes(node).into_iter().filter_map(|other| Some((other.id, other.board?)));
    let blank = blank.filter(|(id, _)| !status.membership.contains(*id));
    let let_in = status.membership.learners.iter().filter(|(_, intent)| **intent == Intent::Stay);
    let newcomers: Vec<(NodeId, u64)> = blank.chain(let_in.filter_map(|(id, _)| Some((*id, hint_of(*id)?)))).collect();
    silent.iter().filter(|(_, since)| since.elapsed() >= patience).find_map(|(old, _)| {
        let hint = hint_of(*old)?;
        let mut same = newcomers.iter().filter(|(_, board)| *board == hint);
        let (Some((new, _)), None) = (same.next(), same.next()) else { return None };
        let lives = status.membership.members().any(|id| id != *new && !silent.contains_key(&id) && hint_of(id) == Some(hint));
        (!lives).then_some((*old, *new))
    })
}
