use hickory_proto::op::Query;
use proptest::prelude::*;

use super::*;
use crate::network::dns::NameEntry;

fn world() -> (Names, View) {
    let names = Names::default();
    for n in 1..=40_u8 {
        names.set(
            &format!("c{n}"),
            vec![NameEntry {
                network: "p_default".into(),
                names: vec![format!("p-web-{n}"), "web".into(), "my_service".into()],
                ipv4: Some([172, 18, 0, n].into()),
                ipv6: (n == 1).then(|| "fd00::1".parse().unwrap()),
            }],
        );
    }
    (names, View { networks: vec![("p_default".into(), "default".into())], links: vec![] })
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(77, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn ask(message: &Message, stream: bool) -> Option<Message> {
    let (names, view) = world();
    match answer(&message.to_vec().unwrap(), &names, &view, stream) {
        Action::Reply(bytes) => Some(Message::from_vec(&bytes).unwrap()),
        _ => None,
    }
}

#[test]
fn known_names() {
    let reply = ask(&query("P-Web-1.", RecordType::A), false).unwrap();
    assert_eq!((reply.metadata.id, reply.answers.len()), (77, 1));
    assert_eq!(reply.answers[0].name.to_ascii(), "P-Web-1.");
    assert_eq!(reply.answers[0].data, RData::A(A([172, 18, 0, 1].into())));
    assert!(reply.answers[0].ttl <= 5);
    assert_eq!(ask(&query("p-web-1.", RecordType::AAAA), false).unwrap().answers.len(), 1);
    // What is there by another family only is no absent name: musl would take NXDOMAIN for that and not use the A record
    // (musl 1.2.3, findings/musl-wants-aaaa-not-denied.sh).
    let empty = ask(&query("p-web-2.", RecordType::AAAA), false).unwrap();
    assert_eq!((empty.metadata.response_code, empty.answers.len()), (ResponseCode::NoError, 0));
    assert_eq!(ask(&query("p-web-2.", RecordType::MX), false).unwrap().answers.len(), 0);
    assert_eq!(ask(&query("example.org.", RecordType::A), false), None);
    let reverse = ask(&query("2.0.18.172.in-addr.arpa.", RecordType::PTR), false).unwrap();
    assert_eq!(reverse.answers[0].data.to_string(), "p-web-2.p_default.");
    assert_eq!(ask(&query("9.9.9.9.in-addr.arpa.", RecordType::PTR), false), None);
}

#[test]
fn long_answers_are_cut_or_go_by_stream() {
    let mut message = query("web.", RecordType::A);
    let cut = ask(&message, false).unwrap();
    assert!(cut.metadata.truncation && cut.answers.is_empty());
    assert_eq!(ask(&message, true).unwrap().answers.len(), 40);
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    message.set_edns(edns);
    let whole = ask(&message, false).unwrap();
    assert!(!whole.metadata.truncation && whole.answers.len() == 40 && whole.edns.is_some());
}

#[test]
fn nonsense_is_refused_or_ignored() {
    let (names, view) = world();
    let answer = |bytes: &[u8]| answer(bytes, &names, &view, false);
    assert_eq!(answer(b""), Action::Ignore);
    assert_eq!(answer(b"short"), Action::Ignore);
    let mut response = query("web.", RecordType::A);
    response.metadata.message_type = MessageType::Response;
    assert_eq!(answer(&response.to_vec().unwrap()), Action::Ignore);
    let Action::Reply(bytes) = answer(&[0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 63]) else { panic!("no answer") };
    assert_eq!(bytes[3] & 15, 1);
    let mut update = query("web.", RecordType::A);
    update.metadata.op_code = OpCode::Update;
    assert!(matches!(answer(&update.to_vec().unwrap()), Action::Reply(_)));
}

proptest! {
    #[test]
    fn no_packet_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), stream in any::<bool>()) {
        let (names, view) = world();
        let _ = answer(&bytes, &names, &view, stream);
        let _ = refusal(&bytes, ResponseCode::ServFail);
    }

    #[test]
    fn no_damaged_query_makes_it_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let (names, view) = world();
        let mut bytes = query("web.default.", RecordType::A).to_vec().unwrap();
        for (index, value) in flips {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        let _ = answer(&bytes, &names, &view, false);
    }
}
