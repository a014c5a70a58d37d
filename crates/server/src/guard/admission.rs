//! Letting in: a certificate for whoever proves a token's secret, or has a certificate that is to be renewed.
//!
//! Invariants:
//! - the proof is bound to this TLS session and this request, so neither a recorded nor a relayed one helps anybody;
//! - a use of the token is in the log before anything is signed;
//! - a node's id is signed only for a node that is no voter, and never again once it was removed: no token takes over a voter's vote;
//! - guesses are few: so many wrong proofs from an address, and in all, within a minute.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use proto::v1::{self as wire, Reason, admit_request::Who as Applicant};
use replica::state::{self, AuthorityRecord, TokenGrant, TrustChange, TrustOutcome};
use tokio::time::Instant;
use tonic::Status;
use trust::{Authority, Grant, Role, Subject, UnixSecs, Who};

use super::{CLIENT_LIFE_S, NODE_LIFE_S, Secured, cluster_time, tokens};
use crate::{
    caller::{Caller, Proven},
    convert,
    node::Node,
    peers::{Address, Origin, PROTOCOL_VERSION},
    services::{
        add_learner,
        failure::{not_admitted, not_executed, not_leader, rejected, unreadable},
        requests::{member, read_barrier},
    },
};

/// Requests for certificates are small.
const CSR_MAX_BYTES: usize = 8 << 10;
/// Other nodes hear of a new authority as fast as of any write, and look every second. Who is given a certificate of it goes to any of them.
const HEARD_BY_ALL_S: u64 = 5;
/// Wrong proofs from one address, and from all, within [`GUESSES_FORGOTTEN_S`].
const GUESSES_MAX: usize = 10;
const GUESSES_OF_ALL_MAX: usize = 100;
const GUESSES_FORGOTTEN_S: u64 = 60;

/// Wrong proofs lately.
#[derive(Debug, Default)]
pub struct Guesses {
    wrong: Mutex<BTreeMap<IpAddr, Vec<Instant>>>,
}

impl Guesses {
    fn may_try(&self, address: IpAddr, now: Instant) -> bool {
        let mut wrong = self.wrong.lock().unwrap();
        for times in wrong.values_mut() {
            times.retain(|at| now.duration_since(*at) < Duration::from_secs(GUESSES_FORGOTTEN_S));
        }
        wrong.retain(|_, times| !times.is_empty());
        let all: usize = wrong.values().map(Vec::len).sum();
        all < GUESSES_OF_ALL_MAX && wrong.get(&address).is_none_or(|times| times.len() < GUESSES_MAX)
    }

    fn note(&self, address: IpAddr, now: Instant) {
        self.wrong.lock().unwrap().entry(address).or_default().push(now);
    }
}

/// Who signs, and for which cluster.
pub struct Signer {
    /// As certificates name it; a recovery from the loss of a majority gives the cluster another id, and leaves this one.
    pub cluster_id: [u8; 16],
    /// Nodes show certificates of this one, so that whoever trusts only the older of two believes them.
    for_nodes: Authority,
    /// Of the newest, so that they outlive the older of two; as soon as it is certain that every node in reach trusts it.
    for_clients: Authority,
    /// Certificates trusted, the newest first.
    trusted: Vec<Vec<u8>>,
}

impl Signer {
    pub fn sign(&self, csr: &[u8], subject: &Subject, now: UnixSecs, life_s: u64) -> Result<Vec<u8>, Status> {
        let authority = match subject.who {
            Who::Node(_) => &self.for_nodes,
            Who::Client { .. } => &self.for_clients,
        };
        authority.sign(csr, subject, now, life_s).map_err(|error| rejected(Reason::Malformed, error.to_string()))
    }
}

/// Lets a board or a client in.
pub async fn admit(node: &Arc<Node>, caller: &Caller, request: wire::AdmitRequest) -> Result<wire::AdmitResponse, Status> {
    let (Proven::Stranger { exporter }, Some(remote)) = (&caller.proven, caller.remote) else {
        return Err(rejected(Reason::Malformed, "only who has no certificate yet asks to be let in, over TLS"));
    };
    if request.csr.len() > CSR_MAX_BYTES {
        return Err(rejected(Reason::Malformed, "a request for a certificate is not so large"));
    }
    let now = Instant::now();
    if !node.guesses.may_try(remote.ip(), now) {
        return Err(not_executed(Reason::Overloaded, "too many wrong tokens lately; try again in a minute"));
    }
    // Only the leader takes anybody in; and it knows of every use of the token.
    let status = member(node)?.engine.status();
    if status.leader != Some(node.id) {
        return Err(not_leader(node, status.leader));
    }
    let _one_at_a_time = node.guard.admitting.lock().await;
    read_barrier(node).await?;
    let known = match <[u8; 8]>::try_from(&request.token_id[..]) {
        Ok(id) => state::token(&*node.state.get(), id).map_err(|error| unreadable(&error))?,
        Err(_) => None,
    };
    let proof: Result<[u8; 32], _> = request.proof[..].try_into();
    let token = match (known, proof) {
        (Some(token), Ok(proof)) if trust::verify_proof(&token.secret_hash, exporter, &request.csr, &proof) => token,
        _ => {
            node.guesses.note(remote.ip(), now);
            node.guard.refused(remote.ip(), "a wrong token");
            return Err(not_admitted(
                "this token is not known here: it was revoked or belongs to another cluster; `rusty-kv token new` makes one",
            ));
        }
    };
    if token.uses_left == Some(0) {
        return Err(not_admitted("this token is used up; `rusty-kv token new` makes another"));
    }
    if token.expires.is_some_and(|expires| expires <= cluster_time::now(node)) {
        return Err(not_admitted("this token has expired; `rusty-kv token new` makes another"));
    }
    match (request.who, &token.grants) {
        (Some(Applicant::Node(applicant)), TokenGrant::Node) => admit_node(node, &token.id, applicant, &request.csr, remote.ip()).await,
        (Some(Applicant::Client(_)), TokenGrant::Client { role, prefix }) => {
            use_token(node, &token.id).await?;
            let signer = signer(node)?;
            let grant = Grant { role: role_of(*role), prefix: prefix.clone() };
            let subject = Subject { cluster_id: signer.cluster_id, who: Who::Client { id: random_id()?, grant } };
            let certificate = signer.sign(&request.csr, &subject, UnixSecs(cluster_time::now(node)), CLIENT_LIFE_S)?;
            log::info!(address:% = remote.ip(); "a client logged in");
            Ok(response(node, &signer, certificate))
        }
        (Some(Applicant::Node(_)), TokenGrant::Client { .. }) => {
            Err(not_admitted("this token is for clients: `rusty-kv login TOKEN`; boards need one of `rusty-kv token new`"))
        }
        (Some(Applicant::Client(_)), TokenGrant::Node) => {
            Err(not_admitted("this token is for boards; clients need one of `rusty-kv token new --client --role ROLE`"))
        }
        (None, _) => Err(rejected(Reason::Malformed, "nobody who could be let in")),
    }
}

async fn admit_node(
    node: &Arc<Node>,
    token: &[u8; 8],
    applicant: wire::NodeApplicant,
    csr: &[u8],
    from: IpAddr,
) -> Result<wire::AdmitResponse, Status> {
    let me = applicant.me.ok_or_else(|| rejected(Reason::Malformed, "a board that does not say who it is"))?;
    let me = convert::identity_from_wire(me).map_err(|error| rejected(Reason::Malformed, error.to_string()))?;
    if me.protocol_version != PROTOCOL_VERSION {
        let message = format!("it speaks protocol version {}, this cluster {PROTOCOL_VERSION}; upgrade the older one", me.protocol_version);
        return Err(rejected(Reason::ProtocolVersion, message));
    }
    if me.cluster_name != node.config.cluster_name.as_str() {
        let message = format!(
            "it is configured for cluster \"{}\", and the token is of \"{}\"; set cluster.name there",
            me.cluster_name, node.config.cluster_name
        );
        return Err(rejected(Reason::OtherCluster, message));
    }
    let membership = member(node)?.engine.status().membership.clone();
    if membership.is_voter(me.id) || me.id == node.id {
        return Err(rejected(Reason::NotAMember, format!("node {} is a voter already", me.id)));
    }
    if state::is_removed(&*node.state.get(), me.id).map_err(|error| unreadable(&error))? {
        return Err(rejected(Reason::Removed, format!("node {} was removed, and an id never comes back; wipe the board", me.id)));
    }
    let address = Address::from(std::net::SocketAddr::new(from, me.port));
    node.book.suggest(address.clone(), Origin::Heard);
    node.book.called(address.clone(), me.clone());
    let wanted = trust_of(node)?.voters_wanted;
    let on_their_way = membership.learners.values().filter(|intent| **intent == raft::Intent::Promote).count();
    let as_voter = membership.settled().voters.len() + on_their_way < usize::from(wanted);
    // Before the token is used: another change of the membership may be under way, and a token for one board must not be spent on waiting.
    add_learner(node, me.id, as_voter, &address).await?;
    use_token(node, token).await?;
    let signer = signer(node)?;
    let subject = Subject { cluster_id: signer.cluster_id, who: Who::Node(me.id.0) };
    let certificate = signer.sign(csr, &subject, UnixSecs(cluster_time::now(node)), NODE_LIFE_S)?;
    log::info!(peer:% = me.id, name = me.name.as_str(), address:%; "let a board in");
    Ok(response(node, &signer, certificate))
}

/// A new certificate for who has one.
pub async fn renew(node: &Arc<Node>, caller: &Caller, csr: &[u8]) -> Result<wire::Certificate, Status> {
    if csr.len() > CSR_MAX_BYTES {
        return Err(rejected(Reason::Malformed, "a request for a certificate is not so large"));
    }
    let signer = signer(node)?;
    let (who, life_s) = match &caller.proven {
        Proven::Node(id) => {
            if state::is_removed(&*node.state.get(), *id).map_err(|error| unreadable(&error))? {
                return Err(rejected(Reason::Removed, format!("node {id} was removed from this cluster")));
            }
            (Who::Node(id.0), NODE_LIFE_S)
        }
        Proven::Client { id, grant } => (Who::Client { id: *id, grant: grant.clone() }, CLIENT_LIFE_S),
        _ => return Err(rejected(Reason::Permission, "there is no certificate to be renewed")),
    };
    let subject = Subject { cluster_id: signer.cluster_id, who };
    let leaf = signer.sign(csr, &subject, UnixSecs(cluster_time::now(node)), life_s)?;
    Ok(certificate(node, &signer, leaf))
}

/// With the authorities that every node's state holds.
pub fn signer(node: &Arc<Node>) -> Result<Signer, Status> {
    member(node)?;
    let trust = trust_of(node)?;
    let newest = trust.authorities.first().ok_or_else(tokens::no_authority)?;
    let heard_by_all = Duration::from_secs(HEARD_BY_ALL_S);
    let is_settled = |secured: Arc<Secured>| {
        secured.papers.credentials.authorities.contains(&newest.cert) && secured.since.is_none_or(|since| since.elapsed() >= heard_by_all)
    };
    let newest = if node.guard.current().is_some_and(is_settled) { newest } else { trust.shown() };
    let authority = |AuthorityRecord { cert, key, .. }: &AuthorityRecord| {
        Authority::from_der(cert, key).map_err(|error| not_executed(Reason::Stopping, error.to_string()))
    };
    let (for_nodes, for_clients) = (authority(trust.shown())?, authority(newest)?);
    Ok(Signer {
        cluster_id: for_nodes.cluster_id(),
        for_nodes,
        for_clients,
        trusted: trust.authorities.iter().map(|authority| authority.cert.clone()).collect(),
    })
}

pub fn response(node: &Node, signer: &Signer, leaf: Vec<u8>) -> wire::AdmitResponse {
    let members = node.member().map(|member| member.engine.status().membership.clone()).unwrap_or_default();
    let addresses = members.members().flat_map(|id| node.book.addresses_of(id)).map(|address| address.to_string()).collect();
    wire::AdmitResponse {
        certificate: Some(certificate(node, signer, leaf)),
        cluster_id: signer.cluster_id.to_vec().into(),
        cluster_name: node.config.cluster_name.to_string(),
        addresses,
        formed_id: node.member().map(|member| member.cluster_id.to_vec()).unwrap_or_default().into(),
    }
}

pub fn random_id() -> Result<u64, Status> {
    getrandom::u64().map_err(|error| not_executed(Reason::Stopping, format!("the system gives no randomness: {error}")))
}

pub fn certificate(node: &Node, signer: &Signer, leaf: Vec<u8>) -> wire::Certificate {
    let authorities = signer.trusted.iter().map(|authority| authority.clone().into()).collect();
    wire::Certificate { leaf: leaf.into(), authorities, time_s: cluster_time::now(node) }
}

fn trust_of(node: &Node) -> Result<state::Trust, Status> {
    state::trust(&*node.state.get()).map_err(|error| unreadable(&error))?.ok_or_else(tokens::no_authority)
}

async fn use_token(node: &Arc<Node>, id: &[u8; 8]) -> Result<(), Status> {
    match tokens::change(node, TrustChange::UseToken { id: *id, at: cluster_time::now(node) }).await? {
        TrustOutcome::TokenExpired => Err(not_admitted("this token has expired; `rusty-kv token new` makes another")),
        TrustOutcome::TokenUsedUp => Err(not_admitted("this token is used up; `rusty-kv token new` makes another")),
        TrustOutcome::TokenUnknown => Err(not_admitted("this token was revoked; `rusty-kv token new` makes another")),
        _ => Ok(()),
    }
}

fn role_of(role: u8) -> Role {
    match role {
        0 => Role::Read,
        1 => Role::Write,
        _ => Role::Admin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_are_bounded_by_address_and_in_all_and_forgotten_after_a_minute() {
        let guesses = Guesses::default();
        let (start, guesser): (Instant, IpAddr) = (Instant::now(), "192.168.1.9".parse().unwrap());
        for _ in 0..GUESSES_MAX {
            assert!(guesses.may_try(guesser, start));
            guesses.note(guesser, start);
        }
        assert!(!guesses.may_try(guesser, start));
        assert!(guesses.may_try("192.168.1.10".parse().unwrap(), start), "others may");
        let later = start + Duration::from_secs(GUESSES_FORGOTTEN_S);
        assert!(guesses.may_try(guesser, later));
        for other in 0..GUESSES_OF_ALL_MAX {
            guesses.note(IpAddr::from([10, 0, 0, other as u8]), later);
        }
        assert!(!guesses.may_try("10.1.1.1".parse().unwrap(), later), "a botnet guesses no faster");
    }
}
