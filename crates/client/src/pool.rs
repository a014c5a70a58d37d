//! Open connections, one or more a node, and what the nodes said of themselves.
//!
//! Invariants:
//! - A node is used only after it has told who it is. The first formed node that answers fixes the cluster; from then on an address
//!   that answers for another cluster is refused. (DHCP may hand a board's old address to a board of another cluster.)
//! - Given addresses may lead to several clusters, by a slip of the hand. They are noted, for whoever is better asked before one is used.
//! - Learned addresses are hints: they are tried after the given ones, and proven like those.
//! - A dial ends within `CONNECT_TIMEOUT_MS + IDENTIFY_TIMEOUT_MS`, so a board without power costs about a second.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use discovery::Peer;
use proto::v1::admin_client::AdminClient;
use proto::v1::call_request::Call;
use proto::v1::call_response::Answer;
use proto::v1::kv_client::KvClient;
use proto::v1::trust_client::TrustClient;
use proto::v1::{Reason, StatusRequest, StatusResponse};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::transport::{Channel, Endpoint};

use crate::calls::{Calls, Lost};
use crate::cluster_id::{ClusterId, is_meant};
use crate::fault::{Effect, Fault};
use crate::login::Login;
use crate::login_in_use::LoginInUse;
use crate::remembered::{Memory, Remembered};
use crate::sessions::Sessions;
use crate::tries::attempt;

const CONNECT_TIMEOUT_MS: u64 = 1_000;
const IDENTIFY_TIMEOUT_MS: u64 = 1_000;
/// A node that stays silent this long on an open connection, pings included, is given up: it lost power without a word.
const PING_INTERVAL_MS: u64 = 2_000;
const PING_TIMEOUT_MS: u64 = 3_000;
/// Given addresses are asked at most this long who they are, and so long after the first has answered.
const MEET_MS: u64 = 1_000;
const SETTLE_MS: u64 = 500;
/// Most clusters told apart.
const CLUSTERS_MET: usize = 8;
/// Most addresses kept beside the given ones; a cluster has at most 7 members.
const LEARNED_PEERS: usize = 32;

/// A node that is connected and has told who it is.
pub struct Node {
    pub peer: Peer,
    /// As told when the connection was opened.
    pub identity: StatusResponse,
    lane: usize,
    channel: Channel,
    line: Mutex<Line>,
}

/// How small calls reach a node.
enum Line {
    /// Not used yet.
    Closed,
    Stream(Arc<Calls>),
    /// The node does not know the stream.
    Unary,
}

/// Why a node is of no use now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// Nobody answers there.
    Unreachable(String),
    /// Somebody answers who is not ours: no rusty-kv node, or one of another cluster.
    Foreign(Reason, String),
    /// It answered, and did not execute the request.
    Refused(Reason, String),
}

pub struct Pool {
    given: Vec<Peer>,
    wanted: Option<String>,
    memory: Option<Memory>,
    login: Option<LoginInUse>,
    /// Connections to each node.
    lanes: usize,
    turn: AtomicUsize,
    /// Of the one cluster whose nodes are used.
    pub sessions: Sessions,
    state: Mutex<State>,
}

struct State {
    learned: Vec<Peer>,
    /// Where the last write was done.
    preferred: Option<Peer>,
    cluster: Option<ClusterId>,
    /// Clusters that answered at given addresses and may be meant, each with the address that did.
    met: BTreeMap<ClusterId, Remembered>,
    /// One for each lane.
    slots: BTreeMap<Peer, Vec<Arc<Slot>>>,
}

/// Locked while dialling, so that many callers open one connection.
type Slot = tokio::sync::Mutex<Option<Arc<Node>>>;

impl Node {
    pub fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone())
    }

    pub fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(self.channel.clone())
    }

    pub fn trust(&self) -> TrustClient<Channel> {
        TrustClient::new(self.channel.clone())
    }

    pub fn cluster(&self) -> Option<ClusterId> {
        ClusterId::from_wire(&self.identity.cluster_id)
    }

    /// Makes a small call over the stream, or alone if the node does not know that.
    pub async fn call(&self, call: Call, effect: Effect, bound: Instant) -> Result<Answer, Fault> {
        if let Some(stream) = self.stream() {
            match stream.call(call.clone(), effect, bound).await {
                Ok(Answer::Error(detail)) => return Err(Fault::told(detail, effect)),
                Ok(answer) => return Ok(answer),
                Err(Lost::Fault(fault)) => return Err(fault),
                Err(Lost::NoSuchMethod) => *self.line.lock().unwrap() = Line::Unary,
            }
        }
        let mut kv = self.kv();
        match call {
            Call::Set(request) => attempt(bound, effect, kv.set(request)).await.map(Answer::Set),
            Call::Get(request) => attempt(bound, effect, kv.get(request)).await.map(Answer::Get),
            Call::Delete(request) => attempt(bound, effect, kv.delete(request)).await.map(Answer::Delete),
        }
    }

    fn stream(&self) -> Option<Arc<Calls>> {
        let mut line = self.line.lock().unwrap();
        match &*line {
            Line::Unary => None,
            Line::Stream(stream) if !stream.has_ended() => Some(stream.clone()),
            Line::Stream(_) | Line::Closed => {
                let stream = Arc::new(Calls::open(self.channel.clone()));
                *line = Line::Stream(stream.clone());
                Some(stream)
            }
        }
    }

    /// Asks for the state as it is now.
    pub async fn status(&self, bound: Duration) -> Result<StatusResponse, Fault> {
        ask(&self.channel, bound).await
    }
}

impl Pool {
    /// `cluster`: the only one whose nodes may be used; None: the first that answers. `lanes`: connections to each node.
    pub fn new(given: Vec<Peer>, wanted: Option<String>, cluster: Option<ClusterId>, memory: Option<Memory>, lanes: usize) -> Pool {
        let state = State { learned: Vec::new(), preferred: None, cluster, met: BTreeMap::new(), slots: BTreeMap::new() };
        Pool {
            given,
            wanted,
            memory,
            login: None,
            lanes: lanes.max(1),
            turn: AtomicUsize::new(0),
            sessions: Sessions::default(),
            state: Mutex::new(state),
        }
    }

    /// Whether whom it comes as is so by the word of this authority; without a login nobody's word is needed.
    pub fn comes_by(&self, authority: &[u8]) -> bool {
        self.login.as_ref().is_none_or(|login| login.current().is_of(authority))
    }

    /// As this user of a closed cluster.
    pub fn with_login(self, login: Option<Login>) -> Pool {
        Pool { login: login.map(LoginInUse::new), ..self }
    }

    /// Asks the given addresses at once who they are. An address that the first to answer names as a member's is not waited for: a board
    /// without power would cost its time in each call.
    pub async fn meet(self: &Arc<Pool>, time: Duration) {
        if self.given.len() < 2 {
            return;
        }
        let mut waiting: BTreeSet<Peer> = self.given.iter().cloned().collect();
        let mut asking = JoinSet::new();
        for peer in self.given.iter().cloned() {
            let pool = self.clone();
            asking.spawn(async move {
                let node = pool.dial(&peer, 0).await;
                (peer, node)
            });
        }
        let mut until = Instant::now() + time.min(Duration::from_millis(MEET_MS));
        while !waiting.is_empty()
            && let Ok(Some(Ok((peer, node)))) = timeout_at(until, asking.join_next()).await
        {
            waiting.remove(&peer);
            if let Ok(node) = node
                && node.cluster().is_some()
            {
                let members = node.identity.members.iter().flat_map(|member| &member.addresses);
                let members: BTreeSet<Peer> = members.filter_map(|address| address.parse().ok()).collect();
                waiting.retain(|peer| !members.contains(peer));
                until = until.min(Instant::now() + Duration::from_millis(SETTLE_MS));
            }
        }
    }

    /// The clusters that answered at given addresses and may be meant.
    pub fn met(&self) -> Vec<Remembered> {
        self.state.lock().unwrap().met.values().cloned().collect()
    }

    /// Every address worth a try, the most promising first.
    pub fn candidates(&self) -> Vec<Peer> {
        let state = self.state.lock().unwrap();
        let mut peers: Vec<Peer> = Vec::new();
        for peer in state.preferred.iter().chain(&self.given).chain(&state.learned) {
            if !peers.contains(peer) {
                peers.push(peer.clone());
            }
        }
        peers
    }

    /// The first candidate, if its connection is open.
    pub fn favourite(&self, lane: usize) -> Option<Arc<Node>> {
        let state = self.state.lock().unwrap();
        let peer = state.preferred.iter().chain(&self.given).chain(&state.learned).next()?;
        let open = state.slots.get(peer)?[lane].try_lock().ok()?;
        open.clone()
    }

    pub fn prefer(&self, peer: &Peer) {
        let mut state = self.state.lock().unwrap();
        if state.preferred.as_ref() != Some(peer) {
            state.preferred = Some(peer.clone());
        }
    }

    /// Notes addresses of members; what is no address is passed over.
    pub fn learn<'a>(&self, addresses: impl IntoIterator<Item = &'a String>) {
        let mut state = self.state.lock().unwrap();
        for peer in addresses.into_iter().filter_map(|address| address.parse::<Peer>().ok()) {
            let known = self.given.contains(&peer) || state.learned.contains(&peer);
            if !known && state.learned.len() < LEARNED_PEERS {
                state.learned.push(peer);
            }
        }
    }

    /// Which of the connections to a node is next in turn.
    pub fn lane(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed) % self.lanes
    }

    /// The open connection to a node, or a new one.
    pub async fn dial(&self, peer: &Peer, lane: usize) -> Result<Arc<Node>, Miss> {
        let slot = {
            let mut state = self.state.lock().unwrap();
            let lanes = state.slots.entry(peer.clone()).or_insert_with(|| (0..self.lanes).map(|_| Arc::default()).collect());
            lanes[lane].clone()
        };
        let mut slot = slot.lock().await;
        if let Some(node) = &*slot {
            return Ok(node.clone());
        }
        let dialled = self.open(peer, lane).await;
        if dialled.is_err() {
            let mut state = self.state.lock().unwrap();
            state.preferred = state.preferred.take().filter(|preferred| preferred != peer);
        }
        let node = dialled?;
        // What an unformed node says changes within seconds, so it is asked anew each time.
        if node.cluster().is_some() {
            *slot = Some(node.clone());
        }
        Ok(node)
    }

    /// Drops a connection that is of no more use; a newer one to the same address stays.
    pub async fn forget(&self, node: &Arc<Node>) {
        let slot = self.state.lock().unwrap().slots.get(&node.peer).map(|lanes| lanes[node.lane].clone());
        if let Some(slot) = slot {
            let mut slot = slot.lock().await;
            *slot = slot.take().filter(|open| !Arc::ptr_eq(open, node));
        }
    }

    async fn open(&self, peer: &Peer, lane: usize) -> Result<Arc<Node>, Miss> {
        let login = self.login.as_ref().map(LoginInUse::current);
        // With a login nobody is spoken to who cannot prove itself, not even on this machine: its port may be anybody's while the node is down.
        let (channel, identity) = identified(peer, login.as_ref()).await?;
        self.admit(peer, &identity)?;
        if let Some(login) = &self.login {
            login.keep_young(&channel, &identity).await;
        }
        Ok(Arc::new(Node { peer: peer.clone(), identity, lane, channel, line: Mutex::new(Line::Closed) }))
    }

    /// Refuses a node of another cluster; learns from one of ours.
    fn admit(&self, peer: &Peer, identity: &StatusResponse) -> Result<(), Miss> {
        let id = ClusterId::from_wire(&identity.cluster_id);
        let fixed = {
            let mut state = self.state.lock().unwrap();
            if let Some(id) = id.filter(|_| is_meant(self.wanted.as_deref(), &identity.cluster_name, id)) {
                state.cluster.get_or_insert(id);
                if state.met.len() < CLUSTERS_MET && self.given.contains(peer) {
                    let fresh = || Remembered::new(id, &identity.cluster_name, [peer.to_string()]);
                    state.met.entry(id).or_insert_with(fresh);
                }
            }
            state.cluster
        };
        if let Some(id) = id.filter(|_| id != fixed) {
            let text = format!("belongs to cluster \"{}\" ({}…)", identity.cluster_name, id.short());
            return Err(Miss::Foreign(Reason::OtherCluster, text));
        }
        if id.is_some() {
            self.sessions.told(identity.applied_index);
        }
        self.learn(identity.members.iter().flat_map(|member| &member.addresses));
        if let (Some(memory), Some(id)) = (&self.memory, id) {
            let own = peer.to_string();
            let addresses = identity.members.iter().flat_map(|member| member.addresses.iter().cloned());
            memory.store(&Remembered::new(id, &identity.cluster_name, addresses.chain([own])));
        }
        Ok(())
    }
}

/// A connection, and what whoever is there says of itself.
async fn identified(peer: &Peer, login: Option<&Login>) -> Result<(Channel, StatusResponse), Miss> {
    let connecting = timeout(Duration::from_millis(CONNECT_TIMEOUT_MS), connect(peer, login)).await;
    let channel = connecting.map_err(|_| Miss::Unreachable("no answer".into()))??;
    let identity = ask(&channel, Duration::from_millis(IDENTIFY_TIMEOUT_MS)).await.map_err(miss)?;
    Ok((channel, identity))
}

async fn connect(peer: &Peer, login: Option<&Login>) -> Result<Channel, Miss> {
    let endpoint = Endpoint::from_shared(format!("http://{peer}")).map_err(|why| Miss::Unreachable(why.to_string()))?;
    let endpoint = endpoint
        .connect_timeout(Duration::from_millis(CONNECT_TIMEOUT_MS))
        .http2_keep_alive_interval(Duration::from_millis(PING_INTERVAL_MS))
        .keep_alive_timeout(Duration::from_millis(PING_TIMEOUT_MS))
        .tcp_keepalive(Some(Duration::from_millis(PING_INTERVAL_MS)));
    let Some(login) = login else {
        return dial::plain(endpoint).await.map_err(|error| unreachable(cause(&error)));
    };
    let config = login.tls().map_err(|error| Miss::Unreachable(error.to_string()))?;
    let dialled = dial::tls(endpoint, config, trust::server_name(&login.cluster_id.0)).await;
    dialled.map(|(channel, _)| channel).map_err(|error| unreachable(cause(&error)))
}

async fn ask(channel: &Channel, bound: Duration) -> Result<StatusResponse, Fault> {
    let mut admin = AdminClient::new(channel.clone());
    match timeout(bound, admin.status(StatusRequest {})).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(Fault::of(&status, Effect::None)),
        Err(_) => Err(Fault::timed_out(Effect::None)),
    }
}

fn miss(fault: Fault) -> Miss {
    match fault.reason {
        Reason::ProtocolVersion => Miss::Foreign(fault.reason, format!("is no rusty-kv node this version can talk to ({})", fault.message)),
        _ => unreachable(fault.message),
    }
}

/// Somebody may well be there who is not ours, or does not take us for theirs: no patience changes that.
fn unreachable(why: String) -> Miss {
    let of_closed = |text: &str| Miss::Foreign(Reason::Permission, text.into());
    // Whoever speaks TLS answers plain HTTP/2 with an alert, which is no frame.
    if why.contains("frame with invalid size") {
        return of_closed("its cluster is closed, and there is no login for it here");
    }
    if why.contains("invalid peer certificate") || why.contains("InvalidContentType") {
        return of_closed(
            "it does not prove to be a node of the cluster of this login; an open cluster is meant by its name, --cluster NAME",
        );
    }
    // RFC 8446, section 6.2: what a server says of a certificate that it does not believe.
    if why.contains("received fatal alert") {
        return of_closed("it does not accept this login, which may have ended or be of an authority that the cluster has given up");
    }
    Miss::Unreachable(why)
}

fn cause(error: &dyn std::error::Error) -> String {
    let innermost = std::iter::successors(Some(error), |error| error.source()).last();
    innermost.map(ToString::to_string).unwrap_or_default()
}
