//! Ways to a login: a token's secret, proven to a node of the very cluster that the token names; or being root on a board.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use discovery::Peer;
use proto::v1::admin_client::AdminClient;
use proto::v1::admit_request::Who;
use proto::v1::trust_client::TrustClient;
use proto::v1::{self, Reason};
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use trust::{KeyPair, Token};

use crate::error::{Error, Kind};
use crate::fault::{Effect, Fault};
use crate::login::Login;

const CONNECT_TIMEOUT_MS: u64 = 2_000;
const ANSWER_TIMEOUT_MS: u64 = 15_000;
/// Nodes asked in one round, and rounds: an election is waited for.
const ASKED_MAX: usize = 32;
const ROUNDS: usize = 4;
const ROUND_PAUSE_MS: u64 = 700;

/// Logs in at one of these nodes, or at those that they name.
pub async fn log_in(token: &Token, name: &str, peers: &[Peer]) -> Result<Login, Error> {
    let key = KeyPair::make().map_err(trouble)?;
    let mut last = Error::new(Kind::NotExecuted, "no node answers", "name one with --addr HOST");
    for round in 0..ROUNDS {
        if round > 0 {
            sleep(Duration::from_millis(ROUND_PAUSE_MS)).await;
        }
        let mut to_ask: VecDeque<Peer> = peers.iter().cloned().collect();
        for _ in 0..ASKED_MAX {
            let Some(peer) = to_ask.pop_front() else { break };
            match ask(token, name, &key, &peer).await {
                Ok(mut login) => {
                    if !login.peers.contains(&peer) {
                        login.peers.push(peer);
                    }
                    return Ok(login);
                }
                Err((error, leader)) => {
                    // What a stranger says at an address that anybody may have announced ends nothing.
                    if matches!(error.kind, Kind::Rejected | Kind::Verification) && error.reason != Reason::OtherCluster {
                        return Err(error);
                    }
                    to_ask.extend(leader.and_then(|address| address.parse().ok()));
                    last = error;
                }
            }
        }
    }
    Err(last)
}

type Refusal = (Error, Option<String>);

async fn ask(token: &Token, name: &str, key: &KeyPair, peer: &Peer) -> Result<Login, Refusal> {
    let unreachable = |why: String| (Error::new(Kind::NotExecuted, format!("{peer}: {why}"), "name another node with --addr HOST"), None);
    let endpoint = Endpoint::from_shared(format!("http://{peer}")).map_err(|why| unreachable(why.to_string()))?;
    let endpoint = endpoint.connect_timeout(Duration::from_millis(CONNECT_TIMEOUT_MS));
    let connected = dial::tls(endpoint, trust::pinned_config(token.ca_hash), trust::joining_name()).await;
    let (channel, proof) = connected.map_err(|error| match innermost(&error) {
        why if why.contains("invalid peer certificate") => (not_of(peer), None),
        why => unreachable(why),
    })?;
    let csr = key.csr().map_err(|error| (trouble(error), None))?;
    let request = v1::AdmitRequest {
        token_id: token.id.to_vec().into(),
        proof: trust::prove(&token.secret_hash(), &proof.exporter, &csr).to_vec().into(),
        csr: csr.into(),
        who: Some(Who::Client(v1::ClientApplicant { name: name.into() })),
    };
    let mut client = TrustClient::new(channel);
    let answer = timeout(Duration::from_millis(ANSWER_TIMEOUT_MS), client.admit(request)).await;
    let answer = answer.map_err(|_| unreachable("no answer".into()))?;
    let answer = answer.map_err(|status| {
        let fault = Fault::of(&status, Effect::None);
        match fault.reason {
            Reason::NotLeader => (Error::new(Kind::NotExecuted, fault.message, ""), fault.leader),
            Reason::Unspecified => unreachable(status.message().to_owned()),
            reason if is_final(reason) => (Error::new(Kind::Rejected, fault.message, "").because(reason), None),
            reason => (Error::new(Kind::NotExecuted, fault.message, "try again").because(reason), None),
        }
    })?;
    let login = Login::of(answer.into_inner(), key).map_err(|error| (error, None))?;
    match login.trusts(&token.ca_hash) {
        true => Ok(login),
        false => Err((Error::new(Kind::Verification, "the node's certificate is of another authority than the token's", ""), None)),
    }
}

fn not_of(peer: &Peer) -> Error {
    let message = format!("{peer}: it is of another cluster than this token, or that cluster has exchanged its authority since");
    Error::new(Kind::Rejected, message, "`rusty-kv token new --client` on one of its boards makes another").because(Reason::OtherCluster)
}

/// Whoever may read a node's files is its administrator.
pub async fn log_in_locally(socket: &Path) -> Result<Login, Error> {
    let channel = local(socket).await?;
    let (mut trust, mut admin) = (TrustClient::new(channel.clone()), AdminClient::new(channel));
    let key = KeyPair::make().map_err(trouble)?;
    let csr = key.csr().map_err(trouble)?;
    let answer = trust.local_login(v1::RenewRequest { csr: csr.into() }).await.map_err(|status| refused(&status))?.into_inner();
    let status = admin.status(v1::StatusRequest {}).await.map_err(|status| refused(&status))?.into_inner();
    let mut login = Login::of(answer, &key)?;
    let own = Peer { host: "127.0.0.1".into(), port: u16::try_from(status.port).unwrap_or_default() };
    login.peers.insert(0, own);
    Ok(login)
}

/// The node behind its own socket.
pub async fn local(socket: &Path) -> Result<Channel, Error> {
    let endpoint = Endpoint::from_static("http://local").connect_timeout(Duration::from_millis(CONNECT_TIMEOUT_MS));
    let connected = dial::local(endpoint, socket).await;
    connected.map_err(|error| {
        let message = format!("no node of this board answers at {}: {}", socket.display(), innermost(&error));
        Error::new(Kind::NotExecuted, message, "run this on a board where rusty-kvd runs, as root, or name its socket with --socket PATH")
    })
}

/// What a node said no to.
pub fn refused(status: &tonic::Status) -> Error {
    let fault = Fault::of(status, Effect::None);
    let kind = if is_final(fault.reason) { Kind::Rejected } else { Kind::NotExecuted };
    Error::new(kind, fault.message, "").because(fault.reason)
}

fn is_final(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NotAdmitted
            | Reason::Permission
            | Reason::LocalOnly
            | Reason::Malformed
            | Reason::OtherCluster
            | Reason::Removed
            | Reason::ProtocolVersion
            | Reason::NotAMember
            | Reason::KeySize
    )
}

fn trouble(error: trust::Error) -> Error {
    Error::new(Kind::File, error.to_string(), "")
}

fn innermost(error: &dyn std::error::Error) -> String {
    let innermost = std::iter::successors(Some(error), |error| error.source()).last();
    innermost.map(ToString::to_string).unwrap_or_default()
}
