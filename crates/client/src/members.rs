//! Who is a member, who leads, how long the log is: what an operator asks of the cluster.
//!
//! - Changes are asked of the leader, wherever that is; what is known not to have been executed is sent again, like a write.
//! - A change that was accepted may take its time: a learner becomes a voter only once it has caught up. [`Changed::next`] says so, and
//!   [`crate::ClusterView`] shows how far it is.
//! - Asking for what is so already changes nothing and is no error.

use discovery::Peer;
use proto::v1::change_member_request::Change as WireChange;
use proto::v1::{self, ChangeStage};
use tokio::time::{Instant, timeout};

use crate::client::Client;
use crate::error::{Error, Kind};
use crate::explain;
use crate::fault::{Effect, Fault};
use crate::tries::{Tries, attempt};

/// One change of the membership; nodes are named by their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A node becomes a learner; `as_voter`: and a voter once it has caught up. `address` is where it is known to be, a hint.
    Add {
        node_id: u64,
        as_voter: bool,
        address: Option<String>,
    },
    /// A learner becomes a voter once it has caught up.
    Promote {
        node_id: u64,
    },
    /// One takes the other's place once it has caught up; the old one need not be up.
    Replace {
        old_id: u64,
        new_id: u64,
        address: Option<String>,
    },
    Remove {
        node_id: u64,
    },
}

/// What became of a change so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    pub stage: Stage,
    /// What will still happen by itself, for people; empty when nothing will.
    pub next: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Done,
    /// It was so before.
    Unchanged,
    /// The node is a learner that catches up.
    CatchingUp,
    /// Old and new voters are counted, each for itself.
    Joint,
}

/// What a node cut from its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// The log begins behind this index now.
    pub mark_index: u64,
    pub freed_entries: u64,
}

impl Client {
    /// Changes the membership; returns once the change is committed, which may be before it is complete.
    pub async fn change_member(&self, change: &Change) -> Result<Changed, Error> {
        let request = v1::ChangeMemberRequest { change: Some(to_wire(change)) };
        let mut tries = Tries::of_operator(&self.pool, self.options.timeout);
        loop {
            let node = tries.next().await?;
            let call = async { node.admin().change_member(request.clone()).await };
            match attempt(tries.write_bound(), Effect::Possible, call).await.and_then(changed) {
                Ok(changed) => return Ok(self.led(&node.peer, changed)),
                Err(fault) => tries.failed(&node, fault).await?,
            }
        }
    }

    /// Asks the leader to hand over to a voter (None: the best fit); returns who was told to stand, which may be before it leads.
    pub async fn transfer_leader(&self, to: Option<u64>) -> Result<u64, Error> {
        let request = v1::TransferLeaderRequest { node_id: to.unwrap_or(0) };
        let mut tries = Tries::of_operator(&self.pool, self.options.timeout);
        loop {
            let node = tries.next().await?;
            let call = async { node.admin().transfer_leader(request).await };
            match attempt(tries.write_bound(), Effect::Possible, call).await {
                Ok(response) => return Ok(response.node_id),
                Err(fault) => tries.failed(&node, fault).await?,
            }
        }
    }

    /// Asks the node at one of these addresses, and no other, to cut its log.
    pub async fn compact(&self, addresses: &[String]) -> Result<Compacted, Error> {
        let bound = Instant::now() + self.options.timeout;
        let mut last = Error::new(Kind::NotExecuted, "no address of it is known", "name it with --addr HOST");
        for peer in addresses.iter().filter_map(|address| address.parse::<Peer>().ok()) {
            let left = bound.saturating_duration_since(Instant::now());
            let node = match timeout(left, self.pool.dial(&peer, 0)).await {
                Ok(Ok(node)) => node,
                missed => {
                    let why = missed.map_or("no answer".into(), |missed| missed.err().map(|miss| miss.to_string()).unwrap_or_default());
                    last = Error::new(Kind::NotExecuted, format!("{peer}: {why}"), "check power and network of that node");
                    continue;
                }
            };
            let call = async { node.admin().compact(v1::CompactRequest {}).await };
            // Cutting twice is cutting once.
            return match attempt(bound, Effect::None, call).await {
                Ok(response) => Ok(Compacted { mark_index: response.mark_index, freed_entries: response.freed_entries }),
                Err(fault) => Err(refused(&peer, &fault)),
            };
        }
        Err(last)
    }
}

fn to_wire(change: &Change) -> WireChange {
    let address = |address: &Option<String>| address.clone().unwrap_or_default();
    match change {
        Change::Add { node_id, as_voter, address: hint } => {
            WireChange::Add(v1::AddMember { node_id: *node_id, as_voter: *as_voter, address: address(hint) })
        }
        Change::Promote { node_id } => WireChange::Promote(v1::PromoteMember { node_id: *node_id }),
        Change::Replace { old_id, new_id, address: hint } => {
            WireChange::Replace(v1::ReplaceMember { old_id: *old_id, new_id: *new_id, address: address(hint) })
        }
        Change::Remove { node_id } => WireChange::Remove(v1::RemoveMember { node_id: *node_id }),
    }
}

/// Reads the answer to a change. What cannot be read may mean "done", so it is unknown.
fn changed(response: v1::ChangeMemberResponse) -> Result<Changed, Fault> {
    let stage = match response.stage() {
        ChangeStage::Done => Stage::Done,
        ChangeStage::Unchanged => Stage::Unchanged,
        ChangeStage::CatchingUp => Stage::CatchingUp,
        ChangeStage::Joint => Stage::Joint,
        ChangeStage::Unspecified => return Err(Fault::not_understood("no stage of the change").of_write()),
    };
    Ok(Changed { stage, next: response.next })
}

fn refused(peer: &Peer, fault: &Fault) -> Error {
    let kind = if fault.outcome == v1::Outcome::Rejected { Kind::Rejected } else { Kind::NotExecuted };
    Error::new(kind, format!("{peer}: {}", fault.message), explain::next_step(kind, fault.reason)).because(fault.reason)
}
