//! An attacker on the LAN with papers of all kinds, and with none: no door opens, whether it is one between nodes or one for users.

use std::time::Duration;

use proto::v1::admin_client::AdminClient;
use proto::v1::admit_request::Who as Applicant;
use proto::v1::change_member_request::Change;
use proto::v1::trust_client::TrustClient;
use proto::v1::{AdmitRequest, ChangeMemberRequest, ClientApplicant, Identity, NodeApplicant, Reason, RemoveMember, StatusResponse};
use rigs::attack::{Door, Forger, Outpost, Relay, Siege, knock_as_node, knock_as_user};
use rigs::{Cluster, Failure, Kv, Pass, eventually, on_lan, token_in};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use trust::{Credentials, Grant, KeyPair, Role, Token, Who};

const VOTERS: usize = 3;
/// Of a board that does not exist.
const NOBODY: u64 = 0x0bad_0bad_0bad_0bad;
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Of the command line: the cluster has said no.
const REFUSED: i32 = 5;

#[test]
#[ignore = "runs the cluster"]
fn nobody_gets_in_with_other_papers_than_the_clusters_own() {
    // Three voters, one that is removed, one that wants to join, and the attacker.
    on_lan(6, async |lan| {
        let mut cluster = Cluster::on_lan("lan-papers", &lan.boards[..VOTERS + 1]);
        let forger = Forger::of_cluster(&mut cluster).await;
        cluster.close(VOTERS).await;
        let (removed_id, removed_papers) = remove_the_last(&mut cluster).await;
        let mut newcomers = Cluster::on_lan("lan-papers-new", &lan.boards[VOTERS + 1..VOTERS + 2]);
        newcomers.nodes[0].args = ["--cluster", cluster.name()].map(String::from).into();
        newcomers.start();
        let token: Token = cluster.token().parse().unwrap();
        let client_token: Token = token_in(&cluster.told(&["token", "new", "--client", "--role", "admin"], 0)).parse().unwrap();

        let siege = Siege::begin(cluster).await;
        let attacker = Attacker {
            outpost: Outpost::on(&lan.boards[VOTERS + 2]),
            victims: (0..VOTERS).map(|node| (siege.cluster.nodes[node].address(), siege.status(node).clone())).collect(),
            token: token.clone(),
        };
        let leader = siege.status(siege.leader).node_id;
        let leader_address = siege.cluster.nodes[siege.leader].address();

        siege.withstands("plaintext", attacker.speaks_plainly()).await;

        let admin = Who::Client { id: 7, grant: Grant { role: Role::Admin, prefix: Vec::new() } };
        let everybody = [Who::Node(NOBODY), Who::Node(leader), admin.clone()];
        let impostor = forger.without_the_key();
        let before = siege.refused().await;
        let forged: Vec<Credentials> = everybody.iter().map(|who| impostor.papers_of(who.clone())).collect();
        siege.withstands("the wrong authority", attacker.knocks_everywhere(&forged, leader)).await;
        let expired: Vec<Credentials> = everybody.iter().map(|who| forger.expired_papers_of(who.clone())).collect();
        siege.withstands("expired certificates", attacker.knocks_everywhere(&expired, leader)).await;
        let refused = siege.refused().await - before;
        assert!(refused >= 2 * everybody.len() as u64 * VOTERS as u64, "only {refused} of all that was refused is counted");

        let knocks = attacker.knocks_everywhere(std::slice::from_ref(&removed_papers), removed_id);
        siege.withstands("a removed member's certificate", knocks).await;
        let of_client = forger.papers_of(admin);
        siege.withstands("a client's certificate on the peers' service", attacker.speaks_as_nodes(&of_client, [NOBODY, leader])).await;
        let follower = siege.cluster.followers(siege.leader)[0];
        let of_follower = Forger::stolen(siege.cluster.nodes[follower].data_dir());
        siege.withstands("a node's certificate in another node's name", attacker.speaks_as_nodes(&of_follower, [NOBODY, leader])).await;
        siege.withstands("no certificate", attacker.knocks_everywhere(&[], leader)).await;

        let before = siege.refused().await;
        siege.withstands("a replayed join", attacker.replays(&leader_address, &token, &client_token)).await;
        assert!(siege.refused().await > before, "wrong proofs are counted");

        // In between: with papers that are none, and with those of one who was a member.
        let pass = Pass::of_stranger(&token);
        let join = |relay: &Relay| {
            newcomers.nodes[0].told_on_board(&["--addr", &relay.address.to_string(), "cluster", "join", &token.to_string()])
        };
        let impostors = impostor.papers_of(Who::Node(leader));
        let relay = Relay::between(&attacker.outpost, &impostors, pass.clone(), leader_address.clone()).await;
        let output = siege.withstands("a relay with papers of its own", async { tokio::task::block_in_place(|| join(&relay)) }).await;
        assert!(!output.status.success() && relay.met() > 0, "it called: {}, and was told: {output:?}", relay.met());
        assert_eq!(relay.believed(), 0, "a joiner spoke to somebody whom the token does not name");
        let relay = Relay::between(&attacker.outpost, &removed_papers, pass, leader_address).await;
        let before = siege.refused().await;
        let output =
            siege.withstands("a relay with a removed member's papers", async { tokio::task::block_in_place(|| join(&relay)) }).await;
        assert_eq!(output.status.code(), Some(REFUSED), "a relayed proof was taken: {output:?}");
        assert!(relay.believed() > 0, "nothing was relayed");
        assert!(siege.refused().await > before, "a relayed proof is counted");
        assert!(!newcomers.nodes[0].data_dir().join("papers.toml").exists(), "it has papers from somewhere");

        siege.assert_logged_once(&[attacker.outpost.address]);
        let members = siege.cluster.led().await.members.len();
        assert_eq!(members, VOTERS, "somebody came in");
        // The same token, board and cluster, with nobody in between.
        let honest = newcomers.nodes[0].told_on_board(&["cluster", "join", &token.to_string()]);
        assert!(honest.status.success(), "{honest:?}");
        siege.end().await;
    });
}

struct Attacker {
    outpost: Outpost,
    victims: Vec<(String, StatusResponse)>,
    token: Token,
}

impl Attacker {
    /// As if the cluster were an open one, by three protocols.
    async fn speaks_plainly(&self) {
        let victims = self.victims.clone();
        let speak = move || async move {
            for (address, status) in victims {
                let kv = Kv::new(&address);
                assert_shut(&knock_as_node(&kv, NOBODY, &status).await);
                assert_shut(&knock_as_user(&kv).await);
                for words in
                    [&b"GET / HTTP/1.1\r\nHost: node\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", &[0xff; 300]]
                {
                    let mut socket = TcpStream::connect(&address).await.unwrap();
                    socket.write_all(words).await.unwrap();
                    let mut heard = Vec::new();
                    let _reset = timeout(ANSWER_LIMIT, socket.read_to_end(&mut heard)).await.expect("it is shown the door");
                    // An alert of TLS at most.
                    assert!(heard.len() < 16, "something was answered to plain words: {heard:?}");
                }
            }
        };
        self.outpost.run(speak).await;
    }

    /// At all nodes, for all that anybody may ask; with each of these papers, or with none.
    async fn knocks_everywhere(&self, papers: &[Credentials], me: u64) {
        let mut passes: Vec<Pass> = papers.iter().map(pass).collect();
        if passes.is_empty() {
            passes.push(Pass::of_stranger(&self.token));
        }
        let victims = self.victims.clone();
        let knock = move || async move {
            for (address, status) in &victims {
                for kv in passes.iter().map(|pass| Kv::with_pass(address, pass)) {
                    assert_shut(&knock_as_node(&kv, me, status).await);
                    assert_shut(&knock_as_user(&kv).await);
                }
            }
        };
        self.outpost.run(knock).await;
    }

    /// At all nodes, in the name of nodes.
    async fn speaks_as_nodes(&self, papers: &Credentials, names: [u64; 2]) {
        let (victims, pass) = (self.victims.clone(), pass(papers));
        let speak = move || async move {
            for (address, status) in &victims {
                for me in names {
                    assert_shut(&knock_as_node(&Kv::with_pass(address, &pass), me, status).await);
                }
            }
        };
        self.outpost.run(speak).await;
    }

    /// What was said, or might have been, on one connection is said again on another.
    async fn replays(&self, leader: &str, for_boards: &Token, for_clients: &Token) {
        let applicant = Applicant::Client(ClientApplicant { name: "somebody".into() });
        let (mut honest, exporter) = trust_client(leader, for_clients).await;
        let recorded = request(for_clients, &exporter, applicant);
        honest.admit(recorded.clone()).await.expect("whoever has a token is let in");
        let me = Identity {
            protocol_version: u32::from(discovery::PROTOCOL_VERSION),
            node_id: NOBODY,
            cluster_name: self.victims[0].1.cluster_name.clone(),
            name: "board".into(),
            port: 50_051,
            ..Default::default()
        };
        let for_a_board = request(for_boards, &exporter, Applicant::Node(NodeApplicant { me: Some(me) }));
        let (leader, token) = (leader.to_owned(), self.token.clone());
        let replay = move || async move {
            for recorded in [recorded, for_a_board] {
                let (mut client, _) = trust_client(&leader, &token).await;
                let failure: Failure = client.admit(recorded).await.expect_err("a recording was taken").into();
                assert_eq!(failure.reason, Reason::NotAdmitted, "{failure:?}");
            }
        };
        self.outpost.run(replay).await;
    }
}

/// The last node is a learner; it is taken out, and its card comes into other hands. Returns its id and papers.
async fn remove_the_last(cluster: &mut Cluster) -> (u64, Credentials) {
    let leader = cluster.settled().await;
    let node_id = cluster.kv(VOTERS).status().await.unwrap().node_id;
    let change = ChangeMemberRequest { change: Some(Change::Remove(RemoveMember { node_id })) };
    AdminClient::new(cluster.kv(leader).channel()).change_member(change).await.unwrap();
    let mut node = cluster.nodes.pop().unwrap();
    node.kill();
    let gone = |statuses: &Vec<Option<StatusResponse>>| {
        let mut members = statuses.iter().map(|status| status.as_ref().map_or(0, |status| status.members.len()));
        members.all(|members| members == VOTERS)
    };
    eventually(30, "all have removed it", || cluster.statuses(), gone).await;
    (node_id, Forger::stolen(node.data_dir()))
}

async fn trust_client(address: &str, token: &Token) -> (TrustClient<Channel>, [u8; 32]) {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap().timeout(ANSWER_LIMIT);
    let (channel, proof) = dial::tls(endpoint, trust::pinned_config(token.ca_hash), trust::joining_name()).await.unwrap();
    (TrustClient::new(channel), proof.exporter)
}

fn request(token: &Token, exporter: &[u8; 32], who: Applicant) -> AdmitRequest {
    let csr = KeyPair::make().unwrap().csr().unwrap();
    let proof = trust::prove(&token.secret_hash(), exporter, &csr).to_vec();
    AdmitRequest { token_id: token.id.to_vec().into(), csr: csr.into(), proof: proof.into(), who: Some(who) }
}

fn pass(papers: &Credentials) -> Pass {
    Pass::showing(papers).expect("papers have a form")
}

#[track_caller]
fn assert_shut(doors: &[Door]) {
    let open: Vec<&Door> = doors.iter().filter(|door| !door.is_shut()).collect();
    assert!(open.is_empty(), "somebody came in: {open:?}");
}
