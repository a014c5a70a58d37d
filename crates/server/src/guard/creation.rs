//! The making of a closed cluster, by one node, which is its first voter.
//!
//! In this order, so that a cut at any moment leaves a node that goes on where it was: papers with the authority's key on the disk; the formation
//! record; once this node leads, the authority in the log; then the key leaves the papers, as the replicated state holds it.

use std::{sync::Arc, time::SystemTime};

use proto::v1::{self as wire, Reason};
use raft::{Membership, RoleName};
use replica::{
    Command, Operation,
    state::{self, AuthorityRecord, TrustChange},
};
use storage::Started;
use tokio::task::spawn_blocking;
use tonic::Status;
use trust::{Authority, Credentials, KeyPair, Subject, UnixSecs, Who};

use super::{Founding, NODE_LIFE_S, Papers, tokens};
use crate::{
    node::Node,
    services::{
        failure::{not_executed, rejected},
        requests::write,
    },
};

const VOTERS_DEFAULT: u8 = 3;
const VOTERS_MAX: u32 = 7;
/// Of the token that `cluster create` prints.
const FIRST_TOKEN_TTL_S: u64 = 86_400;

/// Makes this node a closed cluster of its own, or says that it belongs to one.
pub async fn create(node: &Arc<Node>, voters: u32) -> Result<wire::CreateClusterResponse, Status> {
    let _alone = node.guard.entering.lock().await;
    let voters = match voters {
        0 => VOTERS_DEFAULT,
        1..=VOTERS_MAX => voters as u8,
        _ => return Err(rejected(Reason::Malformed, format!("a cluster has 1 to {VOTERS_MAX} voters"))),
    };
    if let Some(member) = node.member() {
        if node.guard.current().is_none() {
            return Err(rejected(
                Reason::OtherCluster,
                "this node belongs to an open cluster, formed by --peers or --expect; a closed one is made by a node that belongs to none",
            ));
        }
        return Ok(wire::CreateClusterResponse {
            cluster_id: member.cluster_id.to_vec().into(),
            cluster_name: node.config.cluster_name.to_string(),
            created: false,
            token: String::new(),
        });
    }
    if node.has_promised() {
        return Err(rejected(
            Reason::OtherCluster,
            "this node has promised to form a cluster with others; `rusty-kvd --forget-formation` takes that back",
        ));
    }
    let cluster_id = match node.guard.current() {
        // Cut between the papers and the formation record.
        Some(secured) if secured.papers.founding.is_some() => secured.cluster_id,
        Some(_) => return Err(rejected(Reason::OtherCluster, "this node is just joining a cluster")),
        None => make_papers(node, voters).await?,
    };
    node.start_as(Started { cluster_id, membership: Membership::of_voters([node.id]) });
    let mut formed = node.formed();
    let _ = formed.wait_for(|formed| *formed).await;
    until_founded(node).await?;
    let token = tokens::issue(node, replica::state::TokenGrant::Node, FIRST_TOKEN_TTL_S, 0).await?;
    Ok(wire::CreateClusterResponse {
        cluster_id: cluster_id.to_vec().into(),
        cluster_name: node.config.cluster_name.to_string(),
        created: true,
        token,
    })
}

async fn make_papers(node: &Arc<Node>, voters: u8) -> Result<[u8; 16], Status> {
    let now = wall_clock();
    let made = {
        let (id, name) = (node.id.0, node.config.cluster_name.to_string());
        move || -> Result<([u8; 16], Papers), trust::Error> {
            let cluster_id: [u8; 16] = rand_id()?;
            let authority = Authority::make(cluster_id, &name, UnixSecs(now))?;
            let key = KeyPair::make()?;
            let subject = Subject { cluster_id, who: Who::Node(id) };
            let leaf = authority.sign(&key.csr()?, &subject, UnixSecs(now), NODE_LIFE_S)?;
            let credentials = Credentials { leaf, key: key.key_der().to_vec(), authorities: vec![authority.cert_der().to_vec()] };
            let founding = Founding { authority_key: authority.key_der().to_vec(), voters };
            Ok((cluster_id, Papers { credentials, formed_id: cluster_id, time_s: now, founding: Some(founding) }))
        }
    };
    let (cluster_id, papers) = made().map_err(|error| not_executed(Reason::Unformed, error.to_string()))?;
    let node = node.clone();
    match spawn_blocking(move || node.guard.install(papers)).await {
        Ok(Ok(())) => Ok(cluster_id),
        Ok(Err(error)) => Err(not_executed(Reason::Unformed, error.to_string())),
        Err(_) => Err(not_executed(Reason::Stopping, "this node is shutting down")),
    }
}

/// Writes the authority into the log, at the first leadership of the node that made it. Runs until that is done, or at once if there is nothing to do.
pub async fn found(node: Arc<Node>) {
    let Some(member) = node.member() else { return };
    let mut statuses = member.engine.watch();
    loop {
        let Some(secured) = node.guard.current() else { return };
        let Some(founding) = &secured.papers.founding else { return };
        if state::trust(&*node.state.get()).is_ok_and(|trust| trust.is_some()) {
            let papers = Papers { founding: None, ..secured.papers.clone() };
            let guard_of = node.clone();
            if let Ok(Err(error)) = spawn_blocking(move || guard_of.guard.install(papers)).await {
                log::error!(error:%; "could not take the authority's key out of this node's papers");
            }
            return;
        }
        let leads = statuses.borrow_and_update().role == RoleName::Leader;
        if leads {
            let cert = secured.papers.credentials.authorities[0].clone();
            let authority = Authority::from_der(&cert, &founding.authority_key).map(|authority| AuthorityRecord {
                hash: authority.hash(),
                cert,
                key: founding.authority_key.clone(),
            });
            match authority {
                Ok(authority) => {
                    let change = TrustChange::Found { authority, voters_wanted: founding.voters, at: secured.papers.time_s };
                    let command = Command { session: None, operation: Operation::Trust(change) };
                    if let Err(status) = write(&node, command, None).await {
                        log::debug!(reason = status.message(); "the authority is not in the log yet");
                    } else {
                        log::info!(cluster:% = node.config.cluster_name; "made a closed cluster");
                        continue;
                    }
                }
                Err(error) => return log::error!(error:%; "this node's papers hold no authority"),
            }
        }
        if statuses.changed().await.is_err() {
            return;
        }
    }
}

/// The authority is in the state.
async fn until_founded(node: &Arc<Node>) -> Result<(), Status> {
    let mut papers = node.guard.watch();
    let founded = papers.wait_for(|secured| secured.as_ref().is_some_and(|secured| secured.papers.founding.is_none()));
    match tokio::time::timeout(std::time::Duration::from_secs(10), founded).await {
        Ok(Ok(_)) => Ok(()),
        _ => Err(not_executed(Reason::TimedOut, "the new cluster is not up yet; run the command again")),
    }
}

/// What this board takes for the time. It may be 1970: cluster time then starts there.
pub fn wall_clock() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn rand_id() -> Result<[u8; 16], trust::Error> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| trust::Error::NoRandomness(error.to_string()))?;
    Ok(id)
}
