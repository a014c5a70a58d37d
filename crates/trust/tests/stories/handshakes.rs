use std::sync::atomic::Ordering;

use rcgen::ExtendedKeyUsagePurpose;
use rustls::{HandshakeKind, ProtocolVersion};
use trust::{Error, Grant, KeyPair, Role, Subject, UnixSecs, Who, joining_name, pinned_config, server_name, subject_of};

use crate::world::*;

#[test]
fn a_node_lets_clients_and_nodes_of_its_cluster_in_and_knows_who_they_are() {
    let garden = Cluster::new(1);
    let server = serve(&garden.node(1));
    let grant = Grant { role: Role::Write, prefix: b"cam/".to_vec() };
    for who in [Who::Client { id: 9, grant }, Who::Node(2)] {
        let caller = garden.issue(who.clone(), NOW, LIFE_S);
        let met = meet(&server, &call(&caller), garden.name()).unwrap();
        assert_eq!(subject_of(&met.server.peer_certificates().unwrap()[0]), Ok(Subject { cluster_id: garden.id, who }));
        let answered = subject_of(&met.caller.peer_certificates().unwrap()[0]);
        assert_eq!(answered, Ok(Subject { cluster_id: garden.id, who: Who::Node(1) }));
        assert_eq!(met.caller.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        assert_eq!(met.server.alpn_protocol(), Some(&b"h2"[..]));
    }
}

#[test]
fn a_caller_without_a_certificate_is_let_in_as_nobody() {
    let garden = Cluster::new(1);
    let met = meet(&serve(&garden.node(1)), &pinned_config(garden.authority.hash()), joining_name()).unwrap();
    assert!(met.server.peer_certificates().is_none());
    assert_eq!(subject_of(&met.caller.peer_certificates().unwrap()[0]).unwrap().cluster_id, garden.id);
}

#[test]
fn the_node_of_another_cluster_is_refused_by_callers_and_its_certificate_by_servers() {
    let (garden, barn) = (Cluster::new(1), Cluster::new(2));
    let (ours, theirs) = (garden.node(1), barn.node(1));
    for name in [garden.name(), barn.name()] {
        assert_says(&caller_refuses(&serve(&theirs), &call(&ours), name), "UnknownIssuer");
    }
    let caller = rogue_caller(&[&theirs.leaf, barn.authority.cert_der()], &theirs.key);
    assert_says(&server_refuses(&serve(&ours), &caller, garden.name()), "UnknownIssuer");
}

/// Should an authority's key ever be used for two clusters, they still stay apart.
#[test]
fn a_certificate_that_names_another_cluster_is_refused_whoever_signed_it() {
    let garden = Cluster::new(1);
    let elsewhere = Subject { cluster_id: [2; 16], who: Who::Node(1) }.to_uri();
    let stray = garden.misuse(&[elsewhere], BOTH);
    let (chain, ours) = ([&stray.leaf[..], garden.authority.cert_der()], garden.node(1));
    assert_says(&caller_refuses(&rogue_server(&chain, &stray.key), &call(&ours), garden.name()), "OtherCluster");
    assert_says(&server_refuses(&serve(&ours), &rogue_caller(&chain, &stray.key), garden.name()), "OtherCluster");
    let pinned = pinned_config(garden.authority.hash());
    assert_says(&caller_refuses(&rogue_server(&chain, &stray.key), &pinned, joining_name()), "OtherCluster");
}

#[test]
fn a_self_made_certificate_with_all_the_right_names_is_refused() {
    let garden = Cluster::new(1);
    let ours = garden.node(1);
    let wrong_key = KeyPair::make().unwrap();
    let forged = forge(&garden.authority, wrong_key.key_der(), &[node_uri(&garden, 1)], BOTH);
    assert_eq!(subject_of(&forged.leaf), subject_of(&ours.leaf));
    let chain = [&forged.leaf[..], garden.authority.cert_der()];
    assert_says(&caller_refuses(&rogue_server(&chain, &forged.key), &call(&ours), garden.name()), "BadSignature");
    assert_says(&server_refuses(&serve(&ours), &rogue_caller(&chain, &forged.key), garden.name()), "BadSignature");
    let pinned = pinned_config(garden.authority.hash());
    assert_says(&caller_refuses(&rogue_server(&chain, &forged.key), &pinned, joining_name()), "BadSignature");
}

#[test]
fn a_self_made_authority_of_the_same_cluster_id_and_name_is_refused() {
    let (garden, ours) = (Cluster::new(1), Cluster::new(1).node(1));
    let server = serve(&garden.node(1));
    assert_says(&caller_refuses(&server, &call(&ours), garden.name()), "UnknownIssuer");
    let caller = rogue_caller(&[&ours.leaf, &ours.authorities[0]], &ours.key);
    assert_says(&server_refuses(&server, &caller, garden.name()), "UnknownIssuer");
}

#[test]
fn a_stolen_certificate_is_worth_nothing_without_its_key() {
    let garden = Cluster::new(1);
    let (ours, stolen) = (garden.node(1), garden.node(2).leaf);
    let other = KeyPair::make().unwrap();
    let chain = [&stolen[..], garden.authority.cert_der()];
    assert_says(&caller_refuses(&rogue_server(&chain, other.key_der()), &call(&ours), garden.name()), "BadSignature");
    assert_says(&server_refuses(&serve(&ours), &rogue_caller(&chain, other.key_der()), garden.name()), "BadSignature");
    let pinned = pinned_config(garden.authority.hash());
    assert_says(&caller_refuses(&rogue_server(&chain, other.key_der()), &pinned, joining_name()), "BadSignature");
}

#[test]
fn a_client_cannot_play_a_node() {
    let garden = Cluster::new(1);
    let (ours, client) = (garden.node(1), garden.client(5));
    assert_eq!(trust::server_config(&client, at(NOW)).unwrap_err(), Error::NotANode);
    let rogue = rogue_server(&[&client.leaf, garden.authority.cert_der()], &client.key);
    assert_says(&caller_refuses(&rogue, &call(&ours), garden.name()), "InvalidPurpose");
    assert_says(&caller_refuses(&rogue, &pinned_config(garden.authority.hash()), joining_name()), "InvalidPurpose");
}

#[test]
fn both_the_purpose_and_the_name_of_a_node_are_needed_to_serve() {
    let garden = Cluster::new(1);
    let ours = garden.node(1);
    let client = garden.client(5).subject().unwrap().to_uri();
    let call_only = &[ExtendedKeyUsagePurpose::ClientAuth][..];
    for (uri, usages, why) in [
        (client, BOTH, "NotANode"),
        (node_uri(&garden, 1), call_only, "InvalidPurpose"),
        // To allow nothing is not to allow everything.
        (node_uri(&garden, 1), &[], "InvalidPurpose"),
    ] {
        let odd = garden.misuse(&[uri], usages);
        let rogue = rogue_server(&[&odd.leaf, garden.authority.cert_der()], &odd.key);
        assert_says(&caller_refuses(&rogue, &call(&ours), garden.name()), why);
        assert_says(&caller_refuses(&rogue, &pinned_config(garden.authority.hash()), joining_name()), why);
    }
    let serve_only = garden.misuse(&[node_uri(&garden, 1)], &[ExtendedKeyUsagePurpose::ServerAuth]);
    let caller = rogue_caller(&[&serve_only.leaf], &serve_only.key);
    assert_says(&server_refuses(&serve(&ours), &caller, garden.name()), "InvalidPurpose");
}

#[test]
fn a_certificate_with_two_names_or_none_counts_for_nothing() {
    let garden = Cluster::new(1);
    let ours = garden.node(1);
    for (uris, why) in [(vec![node_uri(&garden, 1), node_uri(&garden, 2)], "more than one"), (Vec::new(), "nobody")] {
        let odd = garden.misuse(&uris, BOTH);
        let chain = [&odd.leaf[..], garden.authority.cert_der()];
        assert_says(&caller_refuses(&rogue_server(&chain, &odd.key), &call(&ours), garden.name()), why);
        assert_says(&server_refuses(&serve(&ours), &rogue_caller(&chain, &odd.key), garden.name()), why);
    }
}

#[test]
fn a_bearer_cannot_sign_for_others_nor_an_authority_bear_its_own_certificate() {
    let garden = Cluster::new(1);
    let (ours, node) = (garden.node(1), garden.node(2));
    // Named as the authority's child, with the node's own certificate in between.
    let child = forge(&garden.authority, &node.key, &[node_uri(&garden, 3)], BOTH);
    let chain = [&child.leaf[..], &node.leaf, garden.authority.cert_der()];
    caller_refuses(&rogue_server(&chain, &child.key), &call(&ours), garden.name());
    caller_refuses(&rogue_server(&chain, &child.key), &pinned_config(garden.authority.hash()), joining_name());
    server_refuses(&serve(&ours), &rogue_caller(&chain, &child.key), garden.name());

    let chain = [garden.authority.cert_der(), garden.authority.cert_der()];
    let key = garden.authority.key_der();
    assert_says(&caller_refuses(&rogue_server(&chain, key), &call(&ours), garden.name()), "CaUsedAsEndEntity");
    assert_says(&caller_refuses(&rogue_server(&chain, key), &pinned_config(garden.authority.hash()), joining_name()), "CaUsed");
    assert_says(&server_refuses(&serve(&ours), &rogue_caller(&chain, key), garden.name()), "CaUsedAsEndEntity");
}

#[test]
fn a_server_is_known_by_its_clusters_name_alone() {
    let garden = Cluster::new(1);
    let (server, caller) = (serve(&garden.node(1)), call(&garden.client(5)));
    meet(&server, &caller, garden.name()).unwrap();
    for name in [server_name(&[2; 16]), "192.0.2.7".try_into().unwrap(), joining_name()] {
        assert_says(&caller_refuses(&server, &caller, name), "NotValidForName");
    }
}

#[test]
fn a_certificate_ends_with_its_last_second_by_the_clock_given() {
    let garden = Cluster::new(1);
    let (node, client) = (garden.node(1), garden.client(5));
    let end = UnixSecs(NOW.0 + LIFE_S);
    let later = UnixSecs(end.0 + 1);
    assert_eq!(node.expires(), Ok(end));
    let (server, caller) = (|now| trust::server_config(&node, at(now)).unwrap(), |now| trust::client_config(&client, at(now)).unwrap());
    meet(&server(end), &caller(end), garden.name()).unwrap();
    assert_says(&server_refuses(&server(later), &caller(end), garden.name()), "expired");
    assert_says(&caller_refuses(&server(end), &caller(later), garden.name()), "expired");
}

#[test]
fn the_clock_is_asked_in_each_handshake_and_none_is_left_out() {
    let garden = Cluster::new(1);
    let (hand, clock) = hand();
    let server = trust::server_config(&garden.node(1), clock).unwrap();
    let caller = call(&garden.client(5));
    for _ in 0..3 {
        let met = meet(&server, &caller, garden.name()).unwrap();
        assert_eq!(met.caller.handshake_kind(), Some(HandshakeKind::Full), "a resumed session would not be judged");
    }
    hand.fetch_add(LIFE_S + 1, Ordering::Relaxed);
    assert_says(&server_refuses(&server, &caller, garden.name()), "expired");
}

#[test]
fn boards_that_boot_in_1970_speak_with_each_other_and_with_the_rest() {
    let garden = Cluster::new(1);
    let (node, client) = (garden.node(1), garden.client(5));
    for (server, caller) in [(0, 0), (0, NOW.0), (NOW.0, 0)] {
        let server = trust::server_config(&node, at(UnixSecs(server))).unwrap();
        let caller = trust::client_config(&client, at(UnixSecs(caller))).unwrap();
        meet(&server, &caller, garden.name()).unwrap();
    }
}

/// The machine that runs this test is such a board: its clock is decades past the end of these certificates.
#[test]
fn a_board_whose_own_clock_is_far_ahead_is_believed_by_the_clusters_time() {
    let garden = Cluster::new(1);
    let start = UnixSecs(1_000_000);
    let node = garden.issue(Who::Node(1), start, 3600);
    let client = garden.issue(Who::Node(2), start, 3600);
    let server = trust::server_config(&node, at(start)).unwrap();
    meet(&server, &trust::client_config(&client, at(start)).unwrap(), garden.name()).unwrap();
    meet(&server, &pinned_config(garden.authority.hash()), joining_name()).unwrap();
}

#[test]
fn while_two_authorities_overlap_old_and_new_certificates_are_good_on_both_sides() {
    let before = Cluster::new(1);
    let after = before.successor();
    let both = vec![after.authority.cert_der().to_vec(), before.authority.cert_der().to_vec()];
    let trusting_both = |mut credentials: trust::Credentials| {
        credentials.authorities = both.clone();
        credentials
    };
    for server in [before.node(1), after.node(1)] {
        for caller in [before.node(2), after.client(5)] {
            meet(&serve(&trusting_both(server.clone())), &call(&trusting_both(caller)), before.name()).unwrap();
        }
    }
    // Whoever has not heard of the new one takes what the old one signed, and nothing else, in both directions.
    let late = before.node(3);
    meet(&serve(&trusting_both(before.node(1))), &call(&late), before.name()).unwrap();
    meet(&serve(&late), &call(&trusting_both(before.node(1))), before.name()).unwrap();
    caller_refuses(&serve(&trusting_both(after.node(1))), &call(&late), before.name());
    server_refuses(&serve(&late), &call(&trusting_both(after.node(1))), before.name());
    // Once the old one is dropped, what it signed is worth nothing.
    server_refuses(&serve(&after.node(1)), &call(&trusting_both(before.node(2))), before.name());
    // A token pins the signer, wherever it stands among those trusted.
    for signer in [&before, &after] {
        meet(&serve(&trusting_both(signer.node(1))), &pinned_config(signer.authority.hash()), joining_name()).unwrap();
    }
}

#[test]
fn a_token_of_another_authority_finds_nothing_to_believe() {
    let garden = Cluster::new(1);
    for hash in [Cluster::new(1).authority.hash(), [0; 32]] {
        assert_says(&caller_refuses(&serve(&garden.node(1)), &pinned_config(hash), joining_name()), "NotPinned");
    }
}

#[test]
fn an_authority_that_merely_lies_in_the_chain_vouches_for_nobody() {
    let (garden, rogue) = (Cluster::new(1), Cluster::new(1));
    let impostor = rogue.node(1);
    let ca = garden.authority.cert_der();
    let pinned = pinned_config(garden.authority.hash());
    for chain in [vec![&impostor.leaf[..], ca], vec![&impostor.leaf, rogue.authority.cert_der(), ca], vec![&impostor.leaf, ca, ca]] {
        assert_says(&caller_refuses(&rogue_server(&chain, &impostor.key), &pinned, joining_name()), "UnknownIssuer");
    }
}

#[test]
fn a_pinned_authority_must_be_sent_and_within_the_first_few_certificates() {
    let garden = Cluster::new(1);
    let node = garden.node(1);
    let ca = garden.authority.cert_der();
    let pinned = pinned_config(garden.authority.hash());
    let filler = &node.leaf[..];
    for (chain, found) in
        [(vec![filler, filler, filler, filler, ca], true), (vec![filler, filler, filler, filler, filler, ca], false), (vec![filler], false)]
    {
        assert_eq!(meet(&rogue_server(&chain, &node.key), &pinned, joining_name()).is_ok(), found, "{} sent", chain.len());
    }
}

#[test]
fn older_protocols_and_others_than_ours_are_not_spoken() {
    let garden = Cluster::new(1);
    let node = garden.node(1);
    let old = stranger(&rustls::version::TLS12, b"h2");
    assert_says(&server_refuses(&serve(&node), &old, garden.name()), "Tls12NotOfferedOrEnabled");
    let foreign = stranger(&rustls::version::TLS13, b"http/1.1");
    assert_says(&server_refuses(&serve(&node), &foreign, garden.name()), "known protocol");

    let chain = [&node.leaf[..], garden.authority.cert_der()];
    let old = rogue_server_speaking(&chain, &node.key, &rustls::version::TLS12);
    for (caller, name) in [(call(&garden.client(5)), garden.name()), (pinned_config(garden.authority.hash()), joining_name())] {
        match meet(&old, &caller, name) {
            Err(Refused::ByServer(why)) => assert_says(&why.to_string(), "Tls12NotOfferedOrEnabled"),
            other => panic!("the older protocol was spoken: {other:?}"),
        }
    }
    meet(&rogue_server(&chain, &node.key), &call(&garden.client(5)), garden.name()).unwrap();
}
