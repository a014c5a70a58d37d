//! An attacker on the LAN who lies by mDNS, and a second cluster that has the same name: whoever looks for the cluster finds it, and nobody else.

use std::time::Duration;

use proto::v1::StatusResponse;
use rigs::attack::{Forger, Liar, Outpost, Relay, Siege};
use rigs::{Cluster, Pass, client_ok, on_lan};
use tokio::task::block_in_place;
use trust::{Token, Who};

const VOTERS: usize = 3;
/// Nodes that are nowhere: more than a table of those known holds.
const INVENTED: u64 = 300;
/// What is announced has arrived.
const SPREAD_TIME: Duration = Duration::from_secs(1);

#[test]
#[ignore = "runs the cluster"]
fn lies_about_names_lead_nobody_astray() {
    // Three voters, one that wants to join, one that makes a cluster of its own, and the attacker.
    on_lan(6, async |lan| {
        let mut cluster = Cluster::on_lan("lan-names", &lan.boards[..VOTERS]);
        let forger = Forger::of_cluster(&mut cluster).await;
        cluster.close(VOTERS).await;
        let mut others = Cluster::on_lan("lan-names-others", &lan.boards[VOTERS..VOTERS + 2]);
        for node in &mut others.nodes {
            node.args = ["--cluster", cluster.name()].map(String::from).into();
        }
        others.start();
        let name = cluster.name().to_owned();
        let siege = Siege::begin(cluster).await;
        let (newcomer, rival) = (0, 1);

        // Another house's cluster whose owner had the same idea for a name.
        let made = siege
            .withstands("a second cluster of the same name", async { others.nodes[rival].told_on_board(&["cluster", "create"]) })
            .await;
        assert!(made.status.success(), "{made:?}");

        // Every node is announced once more, where a relay listens that has papers of its own; and the cluster has many more.
        let outpost = Outpost::on(&lan.boards[VOTERS + 2]);
        let token: Token = siege.cluster.token().parse().unwrap();
        let papers = forger.without_the_key().papers_of(Who::Node(siege.status(0).node_id));
        let relay = Relay::between(&outpost, &papers, Pass::of_stranger(&token), siege.cluster.nodes[0].address()).await;
        let liar = Liar::on(&outpost).await;
        let lie = async {
            for node in 0..VOTERS {
                let truth = siege.status(node);
                let record = record(truth, &name, truth.node_id, ["formed", "blank", "promised"][node]);
                liar.announce(truth.node_id, outpost.address, relay.address.port(), &record);
            }
            for invented in 1..=INVENTED {
                liar.announce(invented, outpost.address, relay.address.port(), &record(siege.status(0), &name, invented, "formed"));
            }
            tokio::time::sleep(SPREAD_TIME).await;
        };
        siege.withstands("every node announced elsewhere, and hundreds more", lie).await;

        // Who looks now finds the cluster.
        let home = siege.cluster.path();
        let set = async { block_in_place(|| client_ok(home, &["set", "found", "it"])) };
        siege.withstands("a user who looks for it", set).await;
        let join = async { block_in_place(|| others.nodes[newcomer].told_on_board(&["cluster", "join", &token.to_string()])) };
        let joined = siege.withstands("a board that looks for it", join).await;
        assert!(joined.status.success(), "a board is kept out by lies: {joined:?}");

        let goodbyes = async {
            for node in 0..VOTERS {
                liar.say_goodbye(siege.status(node).node_id);
            }
            tokio::time::sleep(SPREAD_TIME).await;
        };
        siege.withstands("goodbyes in everybody's name", goodbyes).await;
        siege.withstands("a user who looks for it afterwards", async { block_in_place(|| client_ok(home, &["set", "found", "it"])) }).await;
        drop(liar);

        assert_eq!(relay.believed(), 0, "somebody spoke to an impostor");
        println!("{} callers came to where the lies lead, and none stayed", relay.met());
        // The newcomer is in, nobody else is, and the rival is where it was.
        let members = siege.cluster.led().await.members;
        assert_eq!(members.len(), VOTERS + 1, "{members:?}");
        let of_rival = others.nodes[rival].told_on_board(&["status", "-o", "json"]);
        let of_rival: serde_json::Value = serde_json::from_slice(&of_rival.stdout).unwrap_or_else(|_| panic!("{of_rival:?}"));
        assert_eq!(of_rival["members"].as_array().map(Vec::len), Some(1), "{of_rival}");
        siege.assert_logged_once(&[outpost.address, lan.boards[VOTERS + 1].address]);
        siege.end().await;
    });
}

/// What mDNS says of a node.
fn record(truth: &StatusResponse, cluster: &str, id: u64, state: &str) -> Vec<(&'static str, String)> {
    let cluster_id: String = truth.cluster_id.iter().map(|byte| format!("{byte:02x}")).collect();
    [
        ("v", "1".into()),
        ("c", cluster.to_owned()),
        ("i", cluster_id),
        ("n", format!("{id:016x}")),
        ("h", "pi".into()),
        ("s", state.to_owned()),
    ]
    .into()
}
