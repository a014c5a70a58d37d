//! A request for a certificate, from anybody who has a token.

use trust::{CERTIFICATE_MAX_BYTES, Credentials, Grant, PREFIX_MAX_BYTES, Role, Subject, UnixSecs, Who};

use crate::{circle, der, script::Script};

/// 9999-12-31 23:59:59: a certificate can name no later end.
const LAST_END: UnixSecs = UnixSecs(253_402_300_799);

/// A request that names the node's key, signed with the client's.
const SIGNED_BY_ANOTHER: u64 = 1;

/// What is signed is what the signer meant, for the key of the request, and is believed; whatever else the request says.
pub fn certificate_request(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let made = script.below(4);
    let subject = subject(&mut script);
    let now = UnixSecs(script.near(circle::NOW.0));
    let life_s = script.near(circle::LIFE_S);
    let mut part = || der::edited(circle::signed_part(circle::REQUEST), &mut script);
    let request = match made {
        0 => circle::signed(&part(), circle::NODE_KEY),
        SIGNED_BY_ANOTHER => circle::signed(&part(), circle::CLIENT_KEY),
        2 => der::edited(circle::REQUEST, &mut script),
        _ => script.rest().to_vec(),
    };
    let signed = circle::authority().sign(&request, &subject, now, life_s);
    let too_long = matches!(&subject.who, Who::Client { grant, .. } if grant.prefix.len() > PREFIX_MAX_BYTES);
    let Ok(leaf) = signed else {
        assert!(request != circle::REQUEST || too_long || subject.cluster_id != circle::CLUSTER, "an honest request is refused");
        return;
    };
    assert!(!too_long && subject.cluster_id == circle::CLUSTER, "signed for whom it must not");
    assert!(made != SIGNED_BY_ANOTHER, "signed for a key whose holder did not ask");
    assert!(leaf.len() <= CERTIFICATE_MAX_BYTES, "signed, and too long to be read");
    assert_eq!(trust::subject_of(&leaf).as_ref(), Ok(&subject), "signed for somebody else");
    let end = UnixSecs(now.0.saturating_add(life_s)).min(LAST_END);
    // Nobody here holds another key that a request is honestly signed with.
    let credentials = Credentials { leaf, key: circle::NODE_KEY.to_vec(), authorities: vec![circle::AUTHORITY.to_vec()] };
    assert_eq!(credentials.expires(), Ok(end), "another end");
    assert!(credentials.renew_at().expect("just signed") <= end, "renewed after its end");
    trust::client_config(&credentials, circle::clock()).expect("signed, and not believed");
    let serves = trust::server_config(&credentials, circle::clock()).is_ok();
    assert_eq!(serves, matches!(subject.who, Who::Node(_)), "a client serves, or a node does not");
}

fn subject(script: &mut Script<'_>) -> Subject {
    let cluster_id = if script.byte() == 255 { [8; 16] } else { circle::CLUSTER };
    let id = script.near(circle::NODE_ID);
    let who = match script.below(5) {
        0..=2 => Who::Node(id),
        choice => {
            let role = [Role::Read, Role::Write, Role::Admin][script.below(3) as usize];
            let prefix = script.piece().repeat(if choice == 3 { 1 } else { 2 });
            Who::Client { id, grant: Grant { role, prefix } }
        }
    };
    Subject { cluster_id, who }
}
