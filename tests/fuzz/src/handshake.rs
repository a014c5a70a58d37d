//! Two ends of TLS and the wire between them, in memory.

use std::ops::DerefMut;

use rustls::{ClientConnection, ConnectionCommon, ServerConnection, SideData};

/// An honest handshake takes three.
const TURNS_MAX: usize = 6;

/// Who of the two has come to the end of the handshake without minding anything.
pub struct Met {
    pub server: Option<ServerConnection>,
    pub caller: Option<ClientConnection>,
}

/// Lets both speak in turn, the caller first. `carry` is handed what is on the wire in each turn and says what arrives.
pub fn meet(server: ServerConnection, caller: ClientConnection, mut carry: impl FnMut(usize, Vec<u8>) -> Vec<u8>) -> Met {
    let (mut server, mut caller) = (Some(server), Some(caller));
    for turn in 0..TURNS_MAX {
        let mut wire = Vec::new();
        if turn % 2 == 0 {
            if let Some(caller) = &mut caller {
                while caller.wants_write() {
                    caller.write_tls(&mut wire).expect("memory can be written");
                }
            }
            hear(&mut server, &carry(turn, wire));
        } else {
            if let Some(server) = &mut server {
                while server.wants_write() {
                    server.write_tls(&mut wire).expect("memory can be written");
                }
            }
            hear(&mut caller, &carry(turn, wire));
        }
    }
    Met { server: server.filter(|server| !server.is_handshaking()), caller: caller.filter(|caller| !caller.is_handshaking()) }
}

/// Gone once it has minded something.
fn hear<End, Data>(end: &mut Option<End>, mut wire: &[u8])
where
    End: DerefMut<Target = ConnectionCommon<Data>>,
    Data: SideData,
{
    while let Some(hearing) = end
        && !wire.is_empty()
    {
        let minds = hearing.read_tls(&mut wire).is_err() || hearing.process_new_packets().is_err();
        if minds {
            *end = None;
        }
    }
}
