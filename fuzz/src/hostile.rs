//! The same for what an image, or whoever runs in a container, may send.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use hickory_proto::op::{Message, ResponseCode};
use windlass::image::config::ConfigFile;
use windlass::image::load::{Input, LoadOptions, load};
use windlass::image::manifest::{Manifest, OCI_INDEX, OCI_MANIFEST, choose};
use windlass::image::unpack::{Limits, extract::extract, unpack};
use windlass::image::{Platform, Store};
use windlass::network::dns::{Action, NameEntry, Names, View, answer, refusal};
use windlass::network::resolv_conf::{ResolvConf, hosts_file, is_word};
use windlass::runtime::identity::lookup;

const BLOCK: usize = 512;
/// As much as one input may unpack to.
const LIMITS: Limits = Limits { bytes: 1 << 20, entries: 1_000, names: 1 << 20, ratio: 1_000, ratio_from: 1 << 20 };

/// Headers get the checksum that fits them: otherwise hardly any input would come further than to the first.
fn summed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    while let Some(header) = bytes.get_mut(at..at + BLOCK) {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let digits = header[124..136].iter().filter(|byte| (b'0'..=b'7').contains(byte));
        let size = digits.fold(0_usize, |size, digit| size.wrapping_mul(8).wrapping_add(usize::from(digit - b'0')));
        let holds = matches!(header[156], 0 | b'0' | b'7' | b'x' | b'g' | b'L' | b'K');
        let content = if holds { size.min(1 << 20).next_multiple_of(BLOCK) } else { 0 };
        at += BLOCK + content;
    }
    bytes
}

static PLACES: AtomicU64 = AtomicU64::new(0);

/// A folder to unpack into, in one with a file that nothing may touch. It goes when this is dropped.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let top =
            [Path::new("/dev/shm"), &std::env::temp_dir()].into_iter().find(|path| path.is_dir()).unwrap().to_owned();
        let number = PLACES.fetch_add(1, Ordering::Relaxed);
        let place = Self(top.join(format!("windlass-{name}-{}-{number}", std::process::id())));
        place.clear();
        std::fs::create_dir_all(place.root()).unwrap();
        std::fs::write(place.0.join("victim"), "precious").unwrap();
        place
    }

    fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    fn open(&self) -> OwnedFd {
        std::fs::File::open(self.root()).unwrap().into()
    }

    fn assert_untouched(&self) {
        let mut names: Vec<_> = std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["root", "victim"]);
        assert_eq!(std::fs::read(self.0.join("victim")).unwrap(), b"precious");
    }

    fn clear(&self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The archive of a layer, and what somebody copies into a container.
pub fn layer(bytes: &[u8]) {
    let archive = summed(bytes);
    let place = Place::new("layer");
    let mut words = Vec::new();
    if let Err(error) = unpack(&archive[..], place.open(), &LIMITS) {
        words.push(error.to_string());
    }
    place.assert_untouched();
    let place = Place::new("copy");
    if let Err(error) = extract(&archive[..], place.open()) {
        words.push(error.to_string());
    }
    place.assert_untouched();
    for word in words {
        assert!(!word.is_empty());
    }
}

/// A whole image as a file.
pub fn archive(bytes: &[u8]) {
    let place = Place::new("archive");
    let store = Store::open(&place.root()).unwrap();
    let bytes = summed(bytes);
    let options = LoadOptions { limits: LIMITS, parallel: 1, ..LoadOptions::default() };
    let loaded = load(&store, Input::Stream(Box::new(&bytes[..])), &options, &|_| {});
    assert_eq!(std::fs::read_dir(place.root().join("tmp")).unwrap().count(), 0, "something half made is left");
    for image in loaded.unwrap_or_default() {
        assert!(store.image(&image.image).unwrap().unwrap().is_whole());
    }
    place.assert_untouched();
}

/// Manifests, indexes and configurations.
pub fn manifest(bytes: &[u8]) {
    for media_type in [None, Some(OCI_MANIFEST), Some(OCI_INDEX), Some("application/json; charset=utf-8")] {
        match Manifest::parse(bytes, media_type) {
            Ok(Manifest::Index(members)) => {
                if let Ok(chosen) = choose(&members, &Platform::host()) {
                    assert!(members.contains(chosen));
                }
            }
            Ok(Manifest::Image(image)) => assert!(image.layers.len() <= 500),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    if let Ok(file) = ConfigFile::parse(bytes) {
        assert!(file.config.exposed_ports.iter().all(|port| port.contains('/')));
        // What a store writes it can read again.
        let text = serde_json::to_string(&file.config).unwrap();
        assert_eq!(serde_json::from_str::<windlass::image::ImageConfig>(&text).unwrap(), file.config);
    }
}

/// `/etc/passwd`, `/etc/group` and a user, each after a zero byte.
pub fn accounts(text: &str) {
    let mut parts = text.splitn(4, '\0');
    let mut next = || parts.next().unwrap_or_default();
    let (user, passwd, group, more) = (next(), next(), next(), next());
    let more: Vec<String> = more.split_whitespace().map(str::to_owned).collect();
    match lookup(passwd, group, user, &more) {
        Ok(identity) => {
            // The largest means "as it is" to the kernel.
            assert!(identity.uid <= i32::MAX as u32 && identity.groups.iter().all(|group| *group <= i32::MAX as u32));
            assert!(identity.groups.contains(&identity.gid) && !identity.home.is_empty());
            let unique: std::collections::BTreeSet<u32> = identity.groups.iter().copied().collect();
            assert_eq!(unique.len(), identity.groups.len());
        }
        Err(error) => assert!(!error.detail.is_empty()),
    }
}

/// The host's `/etc/resolv.conf`; what is made of it says what it should and nothing else.
pub fn resolver(text: &str) {
    let host = ResolvConf::parse(text);
    let own = ResolvConf::parse(&ResolvConf::for_container(&host, &[], &[]));
    assert_eq!(own.servers, ["127.0.0.11".parse::<IpAddr>().unwrap()]);
    if host.search != ["."] {
        assert_eq!(own.search, host.search);
    }
    assert!(own.search.iter().chain(&own.options).all(|word| is_word(word)), "{own:?}");
    let shared = ResolvConf::parse(&ResolvConf::for_host_network(&host, &[], &[], &[]));
    assert_eq!((shared.servers, shared.options), (host.servers.clone(), host.options.clone()));
    let extra: Vec<(String, IpAddr)> =
        host.search.iter().zip(&host.servers).map(|(name, address)| (name.clone(), *address)).collect();
    let hosts = hosts_file(true, &extra, &host.servers, "web", None);
    assert_eq!(hosts.lines().count(), 6 + extra.len() + host.servers.len());
}

/// A packet to the name server of a project.
pub fn dns(packet: &[u8]) {
    let names = Names::default();
    let network = "shop_default".to_owned();
    let addresses = (Some("172.18.0.2".parse().unwrap()), Some("fd00::2".parse().unwrap()));
    for number in 0..40 {
        let entry = NameEntry {
            network: network.clone(),
            names: vec![format!("shop-web-{number}"), "web".into(), "a.b".into()],
            ipv4: addresses.0,
            ipv6: addresses.1,
        };
        names.set(&number.to_string(), vec![entry]);
    }
    let view = View { networks: vec![(network, "default".into())], links: vec![("db".into(), "web".into())] };
    for stream in [false, true] {
        match answer(packet, &names, &view, stream) {
            // Nobody else could be asked.
            Action::Forward => sent(packet, refusal(packet, ResponseCode::ServFail), 4_096),
            action => sent(packet, action, if stream { 65_535 } else { 4_096 }),
        }
    }
}

/// An answer is one, to the question that was asked, and fits.
fn sent(packet: &[u8], action: Action, most: usize) {
    let Action::Reply(reply) = action else { return };
    assert!(reply.len() <= most && reply[..2] == packet[..2] && reply[2] & 0x80 != 0);
    assert!(packet[2] & 0x80 == 0, "an answer was answered");
    Message::from_vec(&reply).unwrap();
}
