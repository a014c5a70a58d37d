//! The majority is gone for good: one node makes a cluster of its own, on purpose, and nobody of the old one gets in with what it had.

use std::fs;
use std::process::{Command, Output};
use std::time::Duration;

use client::Source;
use rigs::{Cluster, Node, Way, binary, eventually};
use rustix::process::Signal;

const IMAGE_BYTES: usize = 300_000;
const VALUES: u64 = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn a_survivor_goes_on_with_all_it_holds_and_the_old_members_stay_outside() {
    let mut cluster = Cluster::new("recovery", 3, Way::Mdns);
    cluster.start();
    cluster.settled().await;
    let client = cluster.client(Duration::from_secs(20)).await;
    for number in 0..VALUES {
        client.set(format!("key{number}").as_bytes(), format!("value{number}"), None).await.unwrap();
    }
    client.put(b"image", Source::Bytes(vec![7; IMAGE_BYTES].into()), None, &mut |_, _| {}).await.unwrap();
    cluster.equal().await;
    let leader = cluster.settled().await;
    let [survivor, lost] = [cluster.followers(leader)[0], cluster.followers(leader)[1]];

    let refused = recover(&cluster, &cluster.nodes[survivor]);
    assert_eq!(refused.status.code(), Some(5), "a majority answers: {}", said(&refused));
    // Whoever names a wrong address, or stops the node first, gets no second cluster either: the directory knows where the others are, a
    // moment after the node has heard of them.
    let noted = async || fs::read_to_string(cluster.nodes[survivor].data_dir().join("peers.toml")).unwrap_or_default();
    let others = [leader, lost].map(|index| cluster.nodes[index].port.to_string());
    eventually(60, "it has noted where the others are", noted, |text| others.iter().all(|port| text.contains(port))).await;
    cluster.nodes[survivor].stop(Signal::TERM);
    let refused = recover_with(&cluster, &cluster.nodes[survivor], "127.0.0.1:1", cluster.name());
    assert_eq!(refused.status.code(), Some(5), "a majority answers, wherever it is looked for: {}", said(&refused));
    cluster.nodes[survivor].start();
    cluster.equal().await;

    // One burns, one loses its board but not its card.
    cluster.nodes[leader].kill();
    fs::remove_dir_all(cluster.nodes[leader].data_dir()).unwrap();
    cluster.nodes[lost].kill();
    let running = recover(&cluster, &cluster.nodes[survivor]);
    assert_eq!(running.status.code(), Some(3), "it still runs: {}", said(&running));
    assert!(said(&running).contains("is in use") && !said(&running).contains("REACHES"), "{}", said(&running));
    assert!(cluster.nodes[survivor].stop(Signal::TERM).status.success());
    let wrong = recover_with(&cluster, &cluster.nodes[survivor], "127.0.0.1:1", "another");
    assert_eq!(wrong.status.code(), Some(2), "{}", said(&wrong));
    assert!(said(&wrong).contains(&format!("(it is called {})", cluster.name())), "{}", said(&wrong));
    let lost_names = [leader, lost].map(|index| cluster.nodes[index].name.as_str());
    for part in [&["this machine (stopped)", "Lost is what only these hold"][..], &lost_names].concat() {
        assert!(said(&wrong).contains(part), "{part}: {}", said(&wrong));
    }
    let kept = &cluster.nodes[survivor].name;
    assert!(said(&wrong).lines().all(|line| !line.starts_with("Lost is") || !line.contains(kept)), "{}", said(&wrong));
    let recovered = recover(&cluster, &cluster.nodes[survivor]);
    assert_eq!(recovered.status.code(), Some(0), "{}", said(&recovered));

    cluster.nodes[survivor].start();
    let kv = cluster.kv(survivor);
    eventually(30, "the survivor serves alone", async || kv.set(b"after", "alone").await.is_ok(), |served| *served).await;
    for number in 0..VALUES {
        let value = kv.get(format!("key{number}").as_bytes()).await.unwrap();
        assert_eq!(value.as_deref(), Some(format!("value{number}").as_bytes()));
    }
    cluster.nodes[lost].start();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let alone = kv.status().await.unwrap();
    assert_eq!(alone.members.len(), 1, "{:?}", alone.members);
    assert!(cluster.kv(lost).set(b"old", "world").await.is_err(), "one of three decides nothing");

    // The other boards come in as new nodes.
    cluster.nodes[lost].stop(Signal::TERM);
    fs::remove_dir_all(cluster.nodes[lost].data_dir()).unwrap();
    for index in [leader, lost] {
        // A node that is told to form a cluster with the old ones would wait for them.
        cluster.nodes[index].args = vec!["--cluster".into(), cluster.name().into(), "--interface".into(), "lo".into()];
        cluster.nodes[index].start();
        let id = cluster.outside(index).await;
        cluster.told(&["member", "add", &format!("{id:016x}")], 0);
    }
    cluster.told(&["wait", "--healthy"], 0);
    cluster.equal().await;
    cluster.assert_no_panics();
}

fn recover(cluster: &Cluster, node: &Node) -> Output {
    let addresses: Vec<String> = cluster.nodes.iter().map(Node::address).collect();
    recover_with(cluster, node, &addresses.join(","), cluster.name())
}

fn recover_with(cluster: &Cluster, node: &Node, addresses: &str, name: &str) -> Output {
    let data_dir = node.data_dir().to_string_lossy().into_owned();
    let mut command = Command::new(binary("client"));
    command.args(["--addr", addresses, "--timeout", "5s", "cluster", "recover", "--accept-loss"]);
    command.args(["--yes", name, "--data-dir", &data_dir]).env("HOME", cluster.path());
    command.env("RUSTY_KV_CLUSTER_NAME", cluster.name()).env_remove("RUSTY_KV_ADDR");
    command.output().expect("the client runs")
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}
