use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::image::registry::{Proxies, RegistryError, RegistryOptions};
use crate::image::testing::server::{Answer, RealRegistry, Server, registry_answer};
use crate::image::testing::{self, Item, Packing, TestImage};

struct World {
    folder: tempfile::TempDir,
    store: Store,
    options: RegistryOptions,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("images")).unwrap();
        let options = RegistryOptions { pause: Duration::from_millis(1), attempts: 4, ..RegistryOptions::default() };
        Self { folder, store, options }
    }

    fn docker_config(&mut self, text: &str) {
        let path = self.folder.path().join("config.json");
        fs::write(&path, text).unwrap();
        self.options.docker_config = Some(path);
    }

    fn pull(&self, reference: &str) -> Result<Image, ImageError> {
        let client = Client::new(self.options.clone());
        pull(&self.store, &client, &reference.parse().unwrap(), &PullOptions::default(), &|_| {})
    }

    fn pull_error(&self, reference: &str) -> String {
        let error = self.pull(reference).unwrap_err();
        assert_eq!(fs::read_dir(self.store.root().join("tmp")).unwrap().count(), 0, "something was left behind");
        assert_eq!(fs::read_dir(self.store.root().join("names")).unwrap().count(), 0, "a broken image has a name");
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        text
    }
}

fn sample() -> TestImage {
    let big: Vec<u8> = (0..600_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    testing::image(
        &[
            vec![Item::dir("./"), Item::dir("usr/"), Item::file("usr/big", &big)],
            vec![Item::dir("usr/"), Item::file("usr/small", "small")],
            vec![Item::file(".wh.usr", "")],
        ],
        Packing::Gzip,
    )
}

fn read(image: &Image, path: &str) -> Option<Vec<u8>> {
    image.layers.iter().map(|layer| layer.join(path)).find_map(|path: PathBuf| fs::read(path).ok())
}

#[test]
fn from_a_real_registry_with_every_packing_and_again() {
    let world = World::new();
    let registry = RealRegistry::start(world.folder.path());
    for (tag, packing) in [("plain", Packing::Plain), ("gzip", Packing::Gzip), ("zstd", Packing::Zstd)] {
        let image = testing::image(
            &[vec![Item::dir("./"), Item::file("a", tag)], vec![Item::file("b", "b").mode(0o4755).owner(1, 2)]],
            packing,
        );
        registry.push(&image, "library/app", tag);
        let events = Mutex::new(Vec::new());
        let client = Client::new(world.options.clone());
        let reference: Reference = format!("{}/library/app:{tag}", registry.host).parse().unwrap();
        let options = PullOptions::default();
        let pulled =
            ensure(&world.store, &client, &reference, &options, &|event| events.lock().unwrap().push(event)).unwrap();
        assert_eq!((pulled.id, pulled.manifest), (image.config, image.manifest));
        assert_eq!(read(&pulled, "a").unwrap(), tag.as_bytes());
        let events = events.into_inner().unwrap();
        assert_eq!(events.first().unwrap().status, TransferStatus::Resolving);
        assert_eq!(events.last().unwrap().status, TransferStatus::Done { changed: true });
        let exists = events.iter().filter(|event| event.status == TransferStatus::Exists).count();
        // The second layer is the same in all three images, however it is packed.
        assert_eq!(exists, usize::from(tag != "plain"));
        let by_digest = format!("{}/library/app@{}", registry.host, image.manifest);
        assert_eq!(world.store.find(&by_digest.parse().unwrap()).unwrap().unwrap().id, image.config);
        assert_eq!(world.pull(&by_digest).unwrap().id, image.config);
    }
    let error = world.pull(&format!("{}/library/app:none", registry.host)).unwrap_err();
    assert!(
        matches!(&error, ImageError::Pull { source, .. }
        if matches!(**source, ImageError::Registry(RegistryError::NotFound { .. }))),
        "{error:?}"
    );
    assert_eq!(fs::read_dir(world.store.root().join("tmp")).unwrap().count(), 0);
}

#[test]
fn the_variant_for_the_platform_is_taken_from_an_index() {
    let world = World::new();
    let registry = RealRegistry::start(world.folder.path());
    let image = testing::image(&[vec![Item::file("a", "native")]], Packing::Gzip);
    registry.push(&image, "app", "native");
    let host = Platform::host();
    let size = image.blobs[&image.manifest].len();
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": image.manifest, "size": size,
             "platform": {"os": "linux", "architecture": host.architecture}},
        ],
    });
    let index = index.to_string();
    registry.push_manifest("app", "multi", index.as_bytes(), "application/vnd.oci.image.index.v1+json");
    let name = format!("{}/app:multi", registry.host);
    let pulled = world.pull(&name).unwrap();
    assert_eq!(pulled.id, image.config);
    let expected: Reference = format!("{}/app@{}", registry.host, Digest::of(index.as_bytes())).parse().unwrap();
    assert_eq!(world.store.image(&pulled.id).unwrap().unwrap().digests, [expected]);

    let client = Client::new(world.options.clone());
    let options = PullOptions { platform: Some("linux/s390x".parse().unwrap()), ..PullOptions::default() };
    let error = ensure(&world.store, &client, &name.parse().unwrap(), &options, &|_| {}).unwrap_err();
    let ImageError::Pull { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.to_string().contains("no variant of the image is for linux/s390x"), "{source}");
    let never = PullOptions { policy: PullPolicy::Never, ..options };
    let error = ensure(&world.store, &client, &name.parse().unwrap(), &never, &|_| {}).unwrap_err();
    assert!(matches!(error, ImageError::Platform { .. }), "{error:?}");
}

#[test]
fn a_download_that_breaks_is_taken_up_where_it_broke() {
    let image = sample();
    let served = image.clone();
    let server = Server::start(move |asked, _| {
        let answer = registry_answer(&served, asked);
        let length = answer.body.len();
        // Every answer about a large blob breaks off in the middle, until little is left.
        if asked.path.contains("/blobs/") && length > 300_000 {
            return Answer { cut: Some(length / 2), ..answer };
        }
        answer
    });
    let world = World::new();
    let pulled = world.pull(&format!("{}/app:1", server.host())).unwrap();
    assert_eq!(pulled.id, image.config);
    assert!(server.asked().iter().any(|asked| asked.header("range").starts_with("bytes=")));
}

#[test]
fn a_server_without_ranges_is_read_again_from_the_start() {
    let image = sample();
    let served = image.clone();
    let server = Server::start(move |asked, count| {
        let mut without = asked.clone();
        without.headers.remove("range");
        let answer = registry_answer(&served, &without);
        let cut = (asked.path.contains("/blobs/") && count < 3).then_some(answer.body.len() / 3);
        Answer { cut, ..answer }
    });
    assert_eq!(World::new().pull(&format!("{}/app:1", server.host())).unwrap().id, image.config);
}

#[test]
fn a_download_that_never_gets_further_is_given_up() {
    let image = sample();
    let server = Server::start(move |asked, _| {
        let answer = registry_answer(&image, asked);
        if asked.path.contains("/blobs/") && answer.body.len() > 100_000 {
            return Answer { cut: Some(0), ..answer };
        }
        answer
    });
    let text = World::new().pull_error(&format!("{}/app:1", server.host()));
    assert!(text.contains("the connection to") && text.contains("broke"), "{text}");
}

#[test]
fn busy_registries_are_asked_again_and_then_given_up() {
    let image = sample();
    let served = image.clone();
    let server = Server::start(move |asked, count| match (asked.path.contains("/manifests/"), count) {
        (true, 1) => Answer::new(429, "").header("Retry-After", "0"),
        (true, 2) => Answer::new(503, ""),
        _ => registry_answer(&served, asked),
    });
    assert_eq!(World::new().pull(&format!("{}/app:1", server.host())).unwrap().id, image.config);

    let limited = Server::start(|asked, _| match asked.path.as_str() {
        "/v2/" => Answer::new(200, ""),
        _ => Answer::new(429, r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"you have reached your limit"}]}"#),
    });
    let text = World::new().pull_error(&format!("{}/app:1", limited.host()));
    assert!(text.contains("is asked too often (you have reached your limit)"), "{text}");
    assert_eq!(limited.asked().iter().filter(|asked| asked.path != "/v2/").count(), 4);
}

/// A registry that wants a token from another server, which wants a password.
fn guarded(image: &TestImage, needs_password: bool) -> (Server, Server) {
    let tokens = Server::start(move |asked, _| {
        // "me:secret"
        if needs_password && asked.header("authorization") != "Basic bWU6c2VjcmV0" && !asked.body.contains("refresh") {
            return Answer::new(401, r#"{"details":"incorrect username or password"}"#);
        }
        Answer::new(200, r#"{"token":"good","expires_in":300}"#)
    });
    let (image, realm) = (image.clone(), tokens.host());
    let registry = Server::start(move |asked, _| {
        if asked.path != "/v2/" && asked.header("authorization") != "Bearer good" {
            let challenge =
                format!(r#"Bearer realm="http://{realm}/token",service="test",scope="repository:app:pull""#);
            return Answer::new(401, "{}").header("WWW-Authenticate", &challenge);
        }
        registry_answer(&image, asked)
    });
    (registry, tokens)
}

#[test]
fn tokens_are_fetched_once_and_used_for_everything() {
    let image = sample();
    let (registry, tokens) = guarded(&image, false);
    assert_eq!(World::new().pull(&format!("{}/app:1", registry.host())).unwrap().id, image.config);
    let asked = tokens.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].path, "/token?scope=repository%3Aapp%3Apull&service=test");
    assert_eq!(registry.asked().iter().filter(|asked| asked.header("authorization").is_empty()).count(), 2);
}

#[test]
fn passwords_come_from_dockers_configuration() {
    let image = sample();
    let (registry, tokens) = guarded(&image, true);
    let mut world = World::new();
    let name = format!("{}/app:1", registry.host());
    let text = world.pull_error(&name);
    assert!(text.contains("wants a login for app") && text.contains("incorrect username"), "{text}");
    world.docker_config(&json!({"auths": {registry.host(): {"auth": "bWU6d3Jvbmc="}}}).to_string());
    let text = world.pull_error(&name);
    assert!(text.contains("does not accept the stored credentials (incorrect username or password)"), "{text}");
    world.docker_config(&json!({"auths": {registry.host(): {"auth": "bWU6c2VjcmV0"}}}).to_string());
    assert_eq!(world.pull(&name).unwrap().id, image.config);
    let last = tokens.asked().pop().unwrap();
    assert!(last.path.contains("account=me"), "{}", last.path);
}

#[test]
fn identity_tokens_are_exchanged() {
    let image = sample();
    let (registry, tokens) = guarded(&image, true);
    let mut world = World::new();
    world.docker_config(&json!({"auths": {registry.host(): {"identitytoken": "it"}}}).to_string());
    assert_eq!(world.pull(&format!("{}/app:1", registry.host())).unwrap().id, image.config);
    let body = tokens.asked().pop().unwrap().body;
    assert!(body.contains("grant_type=refresh_token") && body.contains("refresh_token=it"), "{body}");
}

#[test]
fn basic_authentication() {
    let image = sample();
    let served = image.clone();
    let server = Server::start(move |asked, _| {
        if asked.path != "/v2/" && asked.header("authorization") != "Basic bWU6c2VjcmV0" {
            return Answer::new(401, "").header("WWW-Authenticate", "Basic realm=\"r\"");
        }
        registry_answer(&served, asked)
    });
    let mut world = World::new();
    let name = format!("{}/app:1", server.host());
    assert!(world.pull_error(&name).contains("wants a login"));
    world.docker_config(&json!({"auths": {server.host(): {"auth": "bWU6c2VjcmV0"}}}).to_string());
    assert_eq!(world.pull(&name).unwrap().id, image.config);
}

#[test]
fn a_redirect_to_another_host_carries_no_password() {
    let image = sample();
    let stored = image.clone();
    let storage = Server::start(move |asked, _| registry_answer(&stored, asked));
    let (served, to) = (image.clone(), storage.host());
    let registry = Server::start(move |asked, _| {
        if asked.path != "/v2/" && asked.header("authorization").is_empty() {
            return Answer::new(401, "").header("WWW-Authenticate", "Basic realm=\"r\"");
        }
        if asked.path.contains("/blobs/") {
            return Answer::new(307, "").header("Location", &format!("http://{to}{}?sig=x", asked.path));
        }
        registry_answer(&served, asked)
    });
    let mut world = World::new();
    world.docker_config(&json!({"auths": {registry.host(): {"auth": "bWU6c2VjcmV0"}}}).to_string());
    assert_eq!(world.pull(&format!("{}/app:1", registry.host())).unwrap().id, image.config);
    let asked = storage.asked();
    assert_eq!(asked.len(), 4);
    assert!(asked.iter().all(|asked| asked.header("authorization").is_empty()), "{asked:?}");
}

#[test]
fn redirects_in_a_circle_end() {
    let server = Server::start(|asked, _| match asked.path.as_str() {
        "/v2/" => Answer::new(200, ""),
        path => Answer::new(302, "").header("Location", path),
    });
    let text = World::new().pull_error(&format!("{}/app:1", server.host()));
    assert!(text.contains("cannot be followed"), "{text}");
}

#[test]
fn lies_are_noticed() {
    let image = sample();
    type Change = fn(&TestImage, &str, Answer) -> Answer;
    let cases: [(&str, Change); 5] = [
        ("calls itself", |_, path, mut answer| {
            if path.contains("/manifests/") {
                answer.headers[0].1 = "application/vnd.oci.image.index.v1+json".into();
            }
            answer
        }),
        ("is not what was asked for", |_, path, mut answer| {
            if path.contains("/manifests/") {
                answer.body.push(b' ');
            }
            answer
        }),
        ("is not what the image promises", |image, path, mut answer| {
            if path.ends_with(&image.layers[0].hex()) {
                answer.body[100_000] ^= 1;
            }
            answer
        }),
        ("bytes, ", |image, path, mut answer| {
            if path.ends_with(&image.layers[0].hex()) {
                answer.body.push(0);
            }
            answer
        }),
        ("wrong content", |image, path, mut answer| {
            if path.ends_with(&image.config.hex()) {
                answer.body[0] = b' ';
            }
            answer
        }),
    ];
    for (expected, change) in cases {
        let served = image.clone();
        let server = Server::start(move |asked, _| {
            let path = asked.path.clone();
            change(&served, &path, registry_answer(&served, asked))
        });
        let text = World::new().pull_error(&format!("{}/app:1", server.host()));
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn an_endless_manifest_is_cut_off() {
    let server = Server::start(|asked, _| match asked.path.as_str() {
        "/v2/" => Answer::new(200, ""),
        _ => Answer::new(200, vec![b' '; 5 << 20]).header("Content-Type", "application/json"),
    });
    let text = World::new().pull_error(&format!("{}/app:1", server.host()));
    assert!(text.contains("a manifest of more than"), "{text}");
}

#[test]
fn a_layer_that_somebody_deleted_is_fetched_again() {
    let image = sample();
    let served = image.clone();
    let server = Server::start(move |asked, _| registry_answer(&served, asked));
    let world = World::new();
    let name = format!("{}/app:1", server.host());
    let pulled = world.pull(&name).unwrap();
    fs::remove_dir_all(pulled.layers[1].parent().unwrap()).unwrap();
    let client = Client::new(world.options.clone());
    let again = ensure(&world.store, &client, &name.parse().unwrap(), &PullOptions::default(), &|_| {}).unwrap();
    assert!(again.is_whole());
    assert_eq!(again, pulled);
}

#[test]
fn nobody_listens() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = World::new().pull_error(&format!("127.0.0.1:{port}/app:1"));
    assert!(text.contains("cannot reach 127.0.0.1") && text.contains("refused"), "{text}");
}

#[test]
fn mirrors_serve_docker_hubs_names() {
    let image = sample();
    let served = image.clone();
    let broken = Server::start(|_, _| Answer::new(404, ""));
    let mirror = Server::start(move |asked, _| registry_answer(&served, asked));
    let mut world = World::new();
    world.options.mirrors = vec![format!("http://{}", broken.host()), format!("http://{}", mirror.host())];
    let pulled = world.pull("nginx:1").unwrap();
    let named = world.store.image(&pulled.id).unwrap().unwrap();
    assert_eq!(named.references, ["nginx:1".parse::<Reference>().unwrap()]);
    assert!(mirror.asked().iter().any(|asked| asked.path == "/v2/library/nginx/manifests/1"));
}

#[test]
fn what_a_mirror_answers_is_told_without_its_password() {
    let answers = [
        (404, r#"{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}"#, "has no nginx:1"),
        (503, "closed for\n maintenance", "answered 503 for nginx:1 (closed for)"),
        (500, r#"{"message": "the cache is full"}"#, "answered 500 for nginx:1 (the cache is full)"),
        (502, "<html><h1>Bad Gateway</h1></html>", "answered 502 for nginx:1;"),
    ];
    let serve = |status: u16, body: &'static str| Server::start(move |_, _| Answer::new(status, body));
    let servers: Vec<Server> = answers.iter().map(|(status, body, _)| serve(*status, body)).collect();
    let mut world = World::new();
    world.options.attempts = 1;
    // No test asks Docker Hub: the way out leads to a port that nobody listens on.
    world.options.proxies = Proxies { https: Some("http://127.0.0.1:1".to_owned()), ..Proxies::default() };
    let mirrors = servers.iter().map(|server| format!("http://somebody:secret@{}", server.host()));
    world.options.mirrors = mirrors.chain(["http://127.0.0.1:1".to_owned()]).collect();
    let text = world.pull_error("nginx:1");
    for (server, (.., said)) in servers.iter().zip(answers) {
        let said = if said.starts_with("has") { said.to_owned() } else { format!("{} {said}", server.host()) };
        assert!(text.contains(&said), "{said}: {text}");
    }
    assert!(text.contains("cannot reach 127.0.0.1:1: ") && text.contains("registry-1.docker.io"), "{text}");
    assert!(!text.contains("secret") && !text.contains("somebody"), "{text}");
}

#[test]
fn refreshing_asks_again_after_a_while() {
    let image = sample();
    let served = image.clone();
    let server = Server::start(move |asked, _| registry_answer(&served, asked));
    let world = World::new();
    let client = Client::new(world.options.clone());
    let reference: Reference = format!("{}/app:1", server.host()).parse().unwrap();
    let ensure = |policy| {
        let options = PullOptions { policy, ..PullOptions::default() };
        let before = server.asked().iter().filter(|asked| asked.path.contains("/manifests/")).count();
        ensure(&world.store, &client, &reference, &options, &|_| {}).unwrap();
        server.asked().iter().filter(|asked| asked.path.contains("/manifests/")).count() - before
    };
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    assert_eq!(ensure(PullPolicy::Refresh(day)), 1, "it was not here");
    assert_eq!(ensure(PullPolicy::Refresh(day)), 0);
    let name = fs::read_dir(world.store.root().join("names")).unwrap().next().unwrap().unwrap().path();
    let aged = |by| {
        let file = fs::File::options().write(true).open(&name).unwrap();
        file.set_modified(std::time::SystemTime::now() - by).unwrap();
    };
    aged(day / 2);
    assert_eq!(ensure(PullPolicy::Refresh(day)), 0);
    assert_eq!(ensure(PullPolicy::Refresh(day / 4)), 1);
    assert_eq!(ensure(PullPolicy::Refresh(day / 4)), 0, "asking it made it new");
    aged(day * 2);
    assert_eq!(ensure(PullPolicy::Missing), 0);
    assert_eq!(ensure(PullPolicy::Refresh(day)), 1);
}

#[test]
fn two_images_that_share_layers_fetch_them_once() {
    let first = sample();
    let mut layers = first.layers.clone();
    let second = testing::image_of(
        &[vec![Item::dir("./"), Item::file("other", "x")], vec![Item::dir("usr/"), Item::file("usr/small", "small")]]
            .map(|items| testing::archive(&items)),
        Packing::Gzip,
        json!({"User": "7"}),
    );
    layers.extend(&second.layers);
    let (a, b) = (first.clone(), second.clone());
    let server = Server::start(move |asked, _| {
        let image = if asked.path.contains("/b/") { &b } else { &a };
        registry_answer(image, asked)
    });
    let world = World::new();
    let client = Client::new(world.options.clone());
    let need = |name: &str| Need {
        reference: format!("{}/{name}:1", server.host()).parse().unwrap(),
        policy: PullPolicy::Missing,
        platform: None,
    };
    let needs: Vec<Need> = ["a", "b", "a", "b"].map(need).to_vec();
    let results = ensure_all(&world.store, &client, &needs, &PullOptions::default(), 4, &|_| {});
    let ids: Vec<Digest> = results.into_iter().map(|result| result.unwrap().id).collect();
    assert_eq!(ids, [first.config, second.config, first.config, second.config]);
    assert_eq!(fs::read_dir(world.store.root().join("layers")).unwrap().count(), 4);
    let shared = format!("/blobs/{}", first.layers[1]);
    assert_eq!(server.asked().iter().filter(|asked| asked.path.ends_with(&shared)).count(), 1);
}
