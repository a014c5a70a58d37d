//! A board's way into a closed cluster: find a member, check by the token that it is the right cluster, prove the token's secret, and come in as a
//! learner.
//!
//! The token names the authority, so nobody who merely answers first is believed; the proof is bound to the session, so nobody in between can use it.
//! The papers are durable before the formation record says that this node belongs to the cluster; cut in between, the same command goes on.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use prost::Message as _;
use proto::v1::{self as wire, ErrorDetail, Reason, admit_request::Who as Applicant, trust_client::TrustClient};
use raft::Membership;
use replica::state;
use storage::Started;
use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tonic::{Status, transport::Endpoint};
use trust::{KeyPair, Token};

use super::{Papers, answer};
use crate::{
    convert,
    node::Node,
    peers::{Address, Origin},
    services::failure::{not_executed, rejected},
};

/// Addresses asked in one round.
const CANDIDATES_MAX: usize = 32;
/// Addresses heard of in one search.
const HEARD_MAX: usize = 256;
const CONNECT_TIMEOUT_MS: u64 = 3_000;
const ADMISSION_TIMEOUT_MS: u64 = 20_000;
const SEARCH_MS: u64 = 3_000;
/// An election, or a change of the membership under way, is waited for.
const ROUNDS: usize = 5;
const ROUND_PAUSE_MS: u64 = 1_000;
const MEMBER_WITHIN_MS: u64 = 10_000;
const KNOWS_POLL_MS: u64 = 100;

/// Takes this node into the cluster of the token, or says that it belongs to it.
pub async fn join(node: &Arc<Node>, asked: wire::JoinClusterRequest) -> Result<wire::JoinClusterResponse, Status> {
    let _alone = node.guard.entering.lock().await;
    let token: Token = asked.token.parse().map_err(|error: trust::Error| rejected(Reason::NotAdmitted, error.to_string()))?;
    if let Some(secured) = node.guard.current() {
        let is_its_own = secured.papers.credentials.authorities.iter().any(|authority| trust::hash_of(authority) == token.ca_hash);
        if !is_its_own {
            let message = "this node belongs to another cluster; a board that is to change clusters is wiped first";
            return Err(rejected(Reason::OtherCluster, message));
        }
        let joined = node.member().is_none();
        come_in(node, secured.papers.formed_id).await?;
        return Ok(done(node, secured.papers.formed_id, joined));
    }
    if node.member().is_some() || node.has_promised() {
        return Err(rejected(
            Reason::OtherCluster,
            "this node belongs to an open cluster, or has promised to form one; a board that is to change clusters is wiped first",
        ));
    }
    let (papers, members) = be_admitted(node, &token, asked.addresses).await?;
    let cluster_id = papers.formed_id;
    let installed = {
        let node = node.clone();
        spawn_blocking(move || node.guard.install(papers)).await
    };
    match installed {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(not_executed(Reason::NoRoom, error.to_string())),
        Err(_) => return Err(not_executed(Reason::Stopping, "this node is shutting down")),
    }
    for address in members {
        node.book.suggest(Address::from(address), Origin::Heard);
    }
    come_in(node, cluster_id).await?;
    until_it_knows_whom_to_trust(node).await;
    Ok(done(node, cluster_id, true))
}

/// The log has come as far as the authority: whoever is root on this board is let in from now on. Without it the board has joined all the same.
async fn until_it_knows_whom_to_trust(node: &Arc<Node>) {
    let knows = async {
        while !matches!(state::trust(&*node.state.get()), Ok(Some(_))) {
            sleep(Duration::from_millis(KNOWS_POLL_MS)).await;
        }
    };
    let _in_time = timeout(Duration::from_millis(MEMBER_WITHIN_MS), knows).await;
}

fn done(node: &Node, cluster_id: [u8; 16], joined: bool) -> wire::JoinClusterResponse {
    wire::JoinClusterResponse { cluster_id: cluster_id.to_vec().into(), cluster_name: node.config.cluster_name.to_string(), joined }
}

/// The membership is learnt from the log.
async fn come_in(node: &Arc<Node>, cluster_id: [u8; 16]) -> Result<(), Status> {
    if node.member().is_none() {
        node.start_as(Started { cluster_id, membership: Membership::default() });
    }
    let mut formed = node.formed();
    match timeout(Duration::from_millis(MEMBER_WITHIN_MS), formed.wait_for(|formed| *formed)).await {
        Ok(Ok(_)) => Ok(()),
        _ => Err(not_executed(Reason::TimedOut, "this node has its papers and is not up yet; run the command again")),
    }
}

/// Where members are said to be; whoever says so is not believed. With patience all who can be heard within [`SEARCH_MS`] are listened for, else it ends
/// with the first.
async fn search(node: &Node, patient: bool) -> Vec<String> {
    let Some(scope) = node.config.network.mdns_when_closed.clone() else { return Vec::new() };
    let name = &node.config.cluster_name;
    let is_ours = |sighting: &&discovery::Sighting| sighting.record.cluster_name == *name && sighting.record.cluster_id.is_some();
    // All that was ever heard of: who announces a member elsewhere takes the place of what the member itself has said.
    let heard: Mutex<Vec<String>> = Mutex::default();
    let note = |seen: &[discovery::Sighting]| {
        let mut heard = heard.lock().unwrap();
        for address in seen.iter().filter(is_ours).flat_map(|sighting| &sighting.addresses).map(ToString::to_string) {
            if heard.len() < HEARD_MAX && !heard.contains(&address) {
                heard.push(address);
            }
        }
        !patient && !heard.is_empty()
    };
    let _all_is_noted = discovery::find(scope, Duration::from_millis(SEARCH_MS), note).await;
    heard.into_inner().unwrap()
}

/// Asks one member after the other, the leader as soon as one names it; looks for members if no addresses are given.
async fn be_admitted(node: &Arc<Node>, token: &Token, given: Vec<String>) -> Result<(Papers, Vec<String>), Status> {
    let key = KeyPair::make().map_err(|error| not_executed(Reason::Stopping, error.to_string()))?;
    let is_given = !given.is_empty();
    let mut addresses = given;
    let mut asked: BTreeSet<String> = BTreeSet::new();
    let mut last = not_executed(Reason::UnknownNode, "no member answers");
    let mut met_a_member = false;
    for round in 0..ROUNDS {
        // As long as only others answer, members are looked for anew: anybody can announce nodes where none is.
        if !is_given && !met_a_member {
            for heard in search(node, round > 0).await {
                if !addresses.contains(&heard) {
                    addresses.push(heard);
                }
            }
        } else if round > 0 {
            sleep(Duration::from_millis(ROUND_PAUSE_MS)).await;
        }
        if addresses.is_empty() {
            let message = "no cluster of this name is in sight by mDNS; name a member's address: `rusty-kv cluster join TOKEN --addr HOST`";
            return Err(not_executed(Reason::UnknownNode, message));
        }
        let (known, fresh): (Vec<&String>, Vec<&String>) = addresses.iter().partition(|address| asked.contains(*address));
        let mut to_ask: VecDeque<String> = fresh.into_iter().chain(known).take(CANDIDATES_MAX).cloned().collect();
        let mut left = CANDIDATES_MAX;
        while let Some(address) = to_ask.pop_front() {
            if left == 0 {
                break;
            }
            left -= 1;
            asked.insert(address.clone());
            match ask(node, token, &key, &address).await {
                Ok((papers, mut members)) => {
                    members.push(address);
                    return Ok((papers, members));
                }
                Err(status) => {
                    let detail = ErrorDetail::decode(status.details()).unwrap_or_default();
                    met_a_member |= detail.reason() != Reason::UnknownNode;
                    match detail.reason() {
                        Reason::NotAdmitted | Reason::Removed | Reason::OtherCluster | Reason::ProtocolVersion | Reason::NotAMember => {
                            return Err(status);
                        }
                        Reason::NotLeader if !detail.leader_address.is_empty() => to_ask.push_front(detail.leader_address),
                        _ => {}
                    }
                    last = status;
                }
            }
        }
    }
    Err(last)
}

async fn ask(node: &Arc<Node>, token: &Token, key: &KeyPair, address: &str) -> Result<(Papers, Vec<String>), Status> {
    let unreachable = |error: &dyn std::fmt::Display| not_executed(Reason::UnknownNode, format!("{address}: {error}"));
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| unreachable(&error))?;
    let endpoint = endpoint.connect_timeout(Duration::from_millis(CONNECT_TIMEOUT_MS));
    let connected = dial::tls(endpoint, trust::pinned_config(token.ca_hash), trust::joining_name()).await;
    let (channel, proof) = connected.map_err(|error| match crate::peers::deepest(&error) {
        why if why.contains("NotPinned") => {
            unreachable(&"it is of another cluster than this token, or its cluster has exchanged its authority since; `rusty-kv token new` makes another")
        }
        why => unreachable(&why),
    })?;
    let csr = key.csr().map_err(|error| unreachable(&error))?;
    let request = wire::AdmitRequest {
        token_id: token.id.to_vec().into(),
        proof: trust::prove(&token.secret_hash(), &proof.exporter, &csr).to_vec().into(),
        csr: csr.into(),
        who: Some(Applicant::Node(wire::NodeApplicant { me: Some(convert::identity_to_wire(&node.identity())) })),
    };
    let mut client = TrustClient::new(channel);
    let admitted = timeout(Duration::from_millis(ADMISSION_TIMEOUT_MS), client.admit(request)).await;
    let admitted = admitted.map_err(|_| unreachable(&"no answer in time"))??.into_inner();
    answer::admitted(admitted, node.id, token.ca_hash, key).map_err(|error| unreachable(&error))
}
