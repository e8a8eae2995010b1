//! One packet in, what to do about it out. Pure, and never trusts the packet.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::names::{Names, View};

/// Containers come and go.
const TTL: u32 = 1;

/// What fits into any datagram.
const CLASSIC: usize = 512;

/// What we offer to receive, and never exceed ourselves.
pub const LARGEST_DATAGRAM: usize = 4096;

const HEADER: usize = 12;

/// What is to be done about a packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    Reply(Vec<u8>),
    /// Somebody else knows.
    Forward,
    Ignore,
}

/// Looks at a query. `stream` is true for TCP, where nothing is ever too long.
#[must_use]
pub fn answer(packet: &[u8], names: &Names, view: &View, stream: bool) -> Action {
    let Ok(query) = Message::from_vec(packet) else {
        return malformed(packet);
    };
    // Answering answers would make loops.
    if query.metadata.message_type == MessageType::Response {
        return Action::Ignore;
    }
    if query.metadata.op_code != OpCode::Query {
        return reply(&query, ResponseCode::NotImp, Vec::new(), stream);
    }
    let [question] = query.queries.as_slice() else {
        return reply(&query, ResponseCode::FormErr, Vec::new(), stream);
    };
    if question.query_class() != DNSClass::IN {
        return reply(&query, ResponseCode::Refused, Vec::new(), stream);
    }
    let name = question.name();
    let record = |data| Record::from_rdata(name.clone(), TTL, data);
    if question.query_type() == RecordType::PTR {
        let known = name
            .parse_arpa_name()
            .ok()
            .filter(|network| network.prefix_len() == network.max_prefix_len())
            .and_then(|network| names.reverse(view, network.addr()))
            .and_then(|known| Name::from_ascii(format!("{known}.")).ok());
        return match known {
            Some(known) => reply(&query, ResponseCode::NoError, vec![record(RData::PTR(PTR(known)))], stream),
            None => Action::Forward,
        };
    }
    let Some(addresses) = names.resolve(view, &name.to_ascii()) else {
        return Action::Forward;
    };
    // A name that we know is never asked for elsewhere: no address of the kind asked for is an empty answer.
    let kind = question.query_type();
    let answers = addresses
        .into_iter()
        .filter_map(|address| match address {
            IpAddr::V4(v4) if matches!(kind, RecordType::A | RecordType::ANY) => Some(record(RData::A(A(v4)))),
            IpAddr::V6(v6) if matches!(kind, RecordType::AAAA | RecordType::ANY) => Some(record(RData::AAAA(AAAA(v6)))),
            _ => None,
        })
        .collect();
    reply(&query, ResponseCode::NoError, answers, stream)
}

/// The answer to a query that could not be forwarded.
#[must_use]
pub fn refusal(packet: &[u8], code: ResponseCode) -> Action {
    match Message::from_vec(packet) {
        Ok(query) => reply(&query, code, Vec::new(), false),
        Err(_) => malformed(packet),
    }
}

fn reply(query: &Message, code: ResponseCode, answers: Vec<Record>, stream: bool) -> Action {
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.metadata.response_code = code;
    response.metadata.recursion_desired = query.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.add_queries(query.queries.iter().take(1).cloned());
    let mut limit = if stream { usize::from(u16::MAX) } else { CLASSIC };
    if let Some(asked) = &query.edns {
        if !stream {
            limit = usize::from(asked.max_payload()).clamp(CLASSIC, LARGEST_DATAGRAM);
        }
        let mut edns = Edns::new();
        edns.set_max_payload(LARGEST_DATAGRAM as u16);
        response.set_edns(edns);
    }
    response.add_answers(answers);
    match response.to_vec() {
        Ok(bytes) if bytes.len() <= limit => Action::Reply(bytes),
        Ok(_) => response.truncate().to_vec().map_or(Action::Ignore, Action::Reply),
        Err(_) => Action::Ignore,
    }
}

/// FORMERR to what has at least a header of a query.
fn malformed(packet: &[u8]) -> Action {
    let Some(header) = packet.get(..HEADER) else { return Action::Ignore };
    if header[2] & 0x80 != 0 {
        return Action::Ignore;
    }
    let id = u16::from_be_bytes([header[0], header[1]]);
    Message::error_msg(id, OpCode::Query, ResponseCode::FormErr).to_vec().map_or(Action::Ignore, Action::Reply)
}

#[cfg(test)]
mod tests;
