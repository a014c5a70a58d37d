//! What operators ask of the cluster: changes of the membership, hand-over, cutting the log.

use std::{sync::Arc, time::Duration};

use proto::v1::{self as wire, Reason, admin_server, change_member_request::Change as Asked};
use raft::{Change, Intent, Membership, NodeId, RoleName};
use replica::{Failure, Reply, state};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep, timeout_at},
};
use tonic::{Request, Response, Status};
use trust::Role;

use super::{
    failure::{not_executed, not_leader, refused, rejected, unknown},
    requests::member,
    status,
};
use crate::{
    caller::{Caller, Proven},
    engine::{self, EngineStatus, NoHeir, ReplyTo},
    node::Node,
    peers::{Address, Origin},
};

/// A change whose entry is not committed by then has an unknown outcome.
const CHANGE_TIMEOUT_MS: u64 = 10_000;
const COMPACT_TIMEOUT_MS: u64 = 60_000;
/// A leader just elected, or a change just ending, is waited for.
const BUSY_PATIENCE_MS: u64 = 5_000;
const BUSY_PAUSE_MS: u64 = 50;
/// Keys named of one lost blob.
const LOST_KEYS_MAX: usize = 16;
/// A voter that is so far behind is not counted on when another stops.
const CAN_STOP_LAG_ENTRIES: u64 = 1_000;

#[derive(Clone)]
pub struct AdminService {
    node: Arc<Node>,
}

impl AdminService {
    pub fn new(node: Arc<Node>) -> AdminService {
        AdminService { node }
    }

    /// A board that was taken out keeps its certificate for months.
    async fn not_removed(&self, id: NodeId) -> Result<(), Status> {
        let state = self.node.state.get();
        match spawn_blocking(move || state::is_removed(&*state, id)).await {
            Ok(Ok(false)) => Ok(()),
            _ => Err(rejected(Reason::Removed, format!("node {id} was removed from this cluster"))),
        }
    }
}

#[tonic::async_trait]
impl admin_server::Admin for AdminService {
    async fn status(&self, request: Request<wire::StatusRequest>) -> Result<Response<wire::StatusResponse>, Status> {
        let caller = Caller::of(&request);
        caller.may(Role::Read, None)?;
        if let Proven::Node(id) = caller.proven {
            self.not_removed(id).await?;
        }
        let mut status = status::of(&self.node);
        let lost = self.node.lost();
        if !status.pending.is_empty() && self.node.member().is_some() {
            let (state, mut pending) = (self.node.state.get(), status.pending.clone());
            let noted = spawn_blocking(move || {
                status::note_removed(&mut pending, |id| state::is_removed(&*state, id).unwrap_or(false));
                pending
            });
            status.pending = noted.await.unwrap_or(status.pending);
        }
        if !lost.is_empty() {
            let state = self.node.state.get();
            let named = spawn_blocking(move || {
                let keys = |hash: &storage::BlobHash| state::keys_of_blob(&*state, &hash.0, LOST_KEYS_MAX).unwrap_or_default();
                let one = |hash: storage::BlobHash| wire::LostBlob {
                    keys: keys(&hash).into_iter().map(Into::into).collect(),
                    hash: hash.0.to_vec().into(),
                };
                lost.into_iter().map(one).collect()
            });
            status.blobs_lost = named.await.unwrap_or_default();
        }
        Ok(Response::new(status))
    }

    async fn change_member(&self, request: Request<wire::ChangeMemberRequest>) -> Result<Response<wire::ChangeMemberResponse>, Status> {
        Caller::of(&request).may(Role::Admin, None)?;
        let asked = request.into_inner().change.ok_or_else(|| rejected(Reason::Malformed, "a change that names none"))?;
        let node = &self.node;
        let now = led(node)?;
        if matches!(&asked, Asked::Remove(remove) if remove.node_id == node.id.0) && now.membership.voters.len() > 1 {
            return Err(self.leave_it_to_another().await);
        }
        let (Asked::Add(wire::AddMember { address, .. }) | Asked::Replace(wire::ReplaceMember { address, .. })) = &asked else {
            return self.change(&asked).await;
        };
        if !address.is_empty() {
            node.book.suggest(Address::from(address.clone()), Origin::Heard);
        }
        let new = newcomer(&asked);
        let state = node.state.get();
        let removed = spawn_blocking(move || state::is_removed(&*state, new)).await;
        if matches!(removed, Ok(Ok(true))) {
            let message =
                format!("node {new} was removed from this cluster, and an id never comes back; wipe the board: it then has a new one");
            return Err(rejected(Reason::Removed, message));
        }
        // A mistyped id would stay in the membership for ever, waiting for nobody.
        if !now.membership.contains(new) && address.is_empty() && !status::is_pending(node, new) {
            let message = format!("no node {new} is in sight; `rusty-kv discover` shows who is");
            return Err(rejected(Reason::UnknownNode, message));
        }
        self.change(&asked).await
    }

    async fn transfer_leader(
        &self,
        request: Request<wire::TransferLeaderRequest>,
    ) -> Result<Response<wire::TransferLeaderResponse>, Status> {
        Caller::of(&request).may(Role::Admin, None)?;
        let to = request.into_inner().node_id;
        let to = (to != 0).then_some(NodeId(to));
        led(&self.node)?;
        match self.ask(Duration::from_millis(CHANGE_TIMEOUT_MS), |reply| engine::Request::Transfer { to, reply }).await? {
            Reply::Transferring(heir) => Ok(Response::new(wire::TransferLeaderResponse { node_id: heir.0 })),
            Reply::NotExecuted(Failure::Invalid(why)) if to.is_some() => Err(rejected(Reason::NotAMember, why)),
            Reply::NotExecuted(Failure::Invalid(why)) => Err(not_executed(Reason::NotCaughtUp, why)),
            Reply::NotExecuted(failure) => Err(refused(&self.node, failure)),
            _ => unreachable!("a hand-over is not answered as anything else"),
        }
    }

    async fn compact(&self, request: Request<wire::CompactRequest>) -> Result<Response<wire::CompactResponse>, Status> {
        Caller::of(&request).may(Role::Admin, None)?;
        let before = member(&self.node)?.engine.status().mark.index;
        match self.ask(Duration::from_millis(COMPACT_TIMEOUT_MS), |reply| engine::Request::Compact { reply }).await? {
            Reply::Compacted(mark) => {
                // So that whoever looks at the status next sees it.
                let mut statuses = member(&self.node)?.engine.watch();
                let seen = statuses.wait_for(|status| status.mark >= mark);
                let _ = timeout_at(Instant::now() + Duration::from_millis(BUSY_PATIENCE_MS), seen).await;
                let freed_entries = mark.index.saturating_sub(before);
                Ok(Response::new(wire::CompactResponse { mark_index: mark.index, freed_entries }))
            }
            Reply::NotExecuted(failure) => Err(refused(&self.node, failure)),
            _ => unreachable!("a cut is not answered as anything else"),
        }
    }

    async fn can_stop(&self, request: Request<wire::CanStopRequest>) -> Result<Response<wire::CanStopResponse>, Status> {
        Caller::of(&request).may(Role::Read, None)?;
        let id = NodeId(request.into_inner().node_id);
        let now = led(&self.node)?;
        let why = why_not_stop(&now, self.node.id, id);
        Ok(Response::new(wire::CanStopResponse { yes: why.is_none(), why: why.unwrap_or_default() }))
    }
}

/// Has the leader, which this node is, take a node in.
pub async fn add_learner(node: &Arc<Node>, id: NodeId, as_voter: bool, address: &Address) -> Result<(), Status> {
    let add = wire::AddMember { node_id: id.0, as_voter, address: address.to_string() };
    AdminService::new(node.clone()).change(&Asked::Add(add)).await.map(drop)
}

impl AdminService {
    async fn change(&self, asked: &Asked) -> Result<Response<wire::ChangeMemberResponse>, Status> {
        let patience = Instant::now() + Duration::from_millis(BUSY_PATIENCE_MS);
        loop {
            let now = led(&self.node)?;
            let Some(change) = next_step(&now.membership, asked)? else {
                return Ok(Response::new(answer(&now.membership, asked, 0, wire::ChangeStage::Unchanged)));
            };
            let reply = self.ask(Duration::from_millis(CHANGE_TIMEOUT_MS), |reply| engine::Request::Change { change, reply }).await?;
            return match reply {
                Reply::Changed(id) => {
                    let now = self.membership_behind(id.index).await.unwrap_or(now.membership.clone());
                    Ok(Response::new(answer(&now, asked, id.index, wire::ChangeStage::Done)))
                }
                Reply::NotExecuted(Failure::Busy) if Instant::now() < patience => {
                    sleep(Duration::from_millis(BUSY_PAUSE_MS)).await;
                    continue;
                }
                Reply::NotExecuted(Failure::Invalid("it is the last voter")) => Err(rejected(
                    Reason::LastVoter,
                    "it is the last voter: without it the cluster and its data would be gone; add another first",
                )),
                Reply::NotExecuted(Failure::Invalid(why)) => Err(rejected(Reason::NotAMember, why)),
                Reply::NotExecuted(failure) => Err(refused(&self.node, failure)),
                Reply::Unknown => {
                    Err(unknown(Reason::LeaderChanged, "what became of the change is not known here; look at `rusty-kv member list`"))
                }
                _ => unreachable!("a change is not answered as anything else"),
            };
        }
    }

    /// A leader that removed itself would leave those waiting whose writes it has under way: another one does it.
    async fn leave_it_to_another(&self) -> Status {
        let Some(member) = self.node.member() else { return not_leader(&self.node, None) };
        match member.engine.hand_over(Duration::from_millis(BUSY_PATIENCE_MS)).await {
            Ok(leader) => not_leader(&self.node, Some(leader)),
            Err(NoHeir::Nobody) => not_executed(Reason::NotCaughtUp, "no other voter can take over the lead to remove this one; try again"),
            Err(NoHeir::TooSlow) => not_executed(Reason::Busy, "no other voter has taken over the lead yet; try again"),
        }
    }

    /// The membership, once what is told of this node has come as far as `index`.
    async fn membership_behind(&self, index: u64) -> Option<Membership> {
        let mut statuses = member(&self.node).ok()?.engine.watch();
        let status =
            timeout_at(Instant::now() + Duration::from_millis(CHANGE_TIMEOUT_MS), statuses.wait_for(|status| status.commit >= index));
        Some(status.await.ok()?.ok()?.membership.clone())
    }

    async fn ask(&self, patience: Duration, make: impl FnOnce(ReplyTo) -> engine::Request) -> Result<Reply, Status> {
        let answer = member(&self.node)?.engine.request(make).map_err(|_| refused(&self.node, Failure::Overloaded))?;
        match timeout_at(Instant::now() + patience, answer).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) => Err(unknown(Reason::Stopping, "the node stopped meanwhile; look at `rusty-kv member list`")),
            Err(_) => Err(unknown(Reason::TimedOut, "it was not confirmed in time; look at `rusty-kv member list`")),
        }
    }
}

/// The member as it is, if it leads.
fn led(node: &Node) -> Result<Arc<EngineStatus>, Status> {
    let now = member(node)?.engine.status();
    match now.role {
        RoleName::Leader => Ok(now),
        _ => Err(not_leader(node, now.leader)),
    }
}

fn newcomer(asked: &Asked) -> NodeId {
    match asked {
        Asked::Add(add) => NodeId(add.node_id),
        Asked::Promote(promote) => NodeId(promote.node_id),
        Asked::Replace(replace) => NodeId(replace.new_id),
        Asked::Remove(remove) => NodeId(remove.node_id),
    }
}

/// What is to be done for it now; none if all is as asked for, or on its way.
fn next_step(now: &Membership, asked: &Asked) -> Result<Option<Change>, Status> {
    let id = newcomer(asked);
    let intent = now.learners.get(&id).copied();
    let step = match asked {
        Asked::Add(_) if now.is_voter(id) => None,
        Asked::Add(add) => {
            let wanted = if add.as_voter { Intent::Promote } else { Intent::Stay };
            // A learner that is on its way to become a voter is not held back by asking for a learner.
            let settled = intent.is_some_and(|intent| intent == wanted || !add.as_voter);
            (!settled).then_some(Change::AddLearner(id, wanted))
        }
        Asked::Promote(_) if now.is_voter(id) || intent == Some(Intent::Promote) => None,
        Asked::Promote(_) => Some(Change::Promote(id)),
        Asked::Replace(replace) => {
            let old = NodeId(replace.old_id);
            match (now.voters.contains(&old), now.is_voter(id)) {
                // Done before, or being done.
                (false, true) => None,
                (true, true) => {
                    return Err(rejected(Reason::NotAMember, "the one to take its place is a voter already; remove the old one instead"));
                }
                (false, false) => return Err(rejected(Reason::NotAMember, "the one to be replaced is not a voter")),
                (true, false) => (intent != Some(Intent::Replace(old))).then_some(Change::AddLearner(id, Intent::Replace(old))),
            }
        }
        Asked::Remove(_) if !now.contains(id) || (now.is_joint() && !now.voters.contains(&id)) => None,
        Asked::Remove(_) => Some(Change::Remove(id)),
    };
    Ok(step)
}

fn answer(now: &Membership, asked: &Asked, index: u64, at_rest: wire::ChangeStage) -> wire::ChangeMemberResponse {
    use wire::ChangeStage::{CatchingUp, Joint};
    let id = newcomer(asked);
    let (stage, next) = match now.learners.get(&id) {
        Some(Intent::Promote) => (CatchingUp, "it is a learner, and becomes a voter once it has caught up".into()),
        Some(Intent::Replace(old)) => (CatchingUp, format!("it is a learner, and takes the place of {old} once it has caught up")),
        _ if now.is_joint() => (Joint, "old and new voters both decide until the new ones have everything".into()),
        _ => (at_rest, String::new()),
    };
    wire::ChangeMemberResponse { stage: stage.into(), index, next }
}

/// As far as this leader knows.
fn why_not_stop(now: &EngineStatus, me: NodeId, id: NodeId) -> Option<String> {
    if now.changing {
        return Some("a change of the membership is under way".into());
    }
    let fit = |other: NodeId| {
        let durable = now.peers.iter().find(|peer| peer.id == other && !peer.forgot).and_then(|peer| peer.durable);
        other == me || durable.is_some_and(|durable| now.commit.saturating_sub(durable) <= CAN_STOP_LAG_ENTRIES)
    };
    let survives = now.membership.has_quorum(|other| other != id && fit(other));
    (now.membership.is_voter(id) && !survives).then(|| "the other voters that are up and caught up are no quorum".into())
}
