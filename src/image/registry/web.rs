//! Files from web servers that are no registries of images.

use std::io::Read;
use std::time::Duration;

use ureq::http::StatusCode;

use super::RegistryError;
use super::http::{MOST_REDIRECTS, Origin, Transport, refusal, retry_after, unreachable};
use super::proxy::Proxies;

const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(400);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// Asks web servers.
#[derive(Debug)]
pub struct Web {
    transport: Transport,
}

/// A file that is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    pub url: &'a str,
    pub accept: Option<&'a str>,
    /// Sent to the host of `url` and to nobody else.
    pub token: Option<&'a str>,
    /// For messages.
    pub what: &'a str,
}

/// A file on its way.
#[expect(missing_debug_implementations, reason = "a stream has nothing to show")]
pub struct Download {
    /// As the server says it.
    pub size: Option<u64>,
    pub body: Box<dyn Read + Send>,
}

impl Web {
    #[must_use]
    pub fn new(proxies: Proxies) -> Self {
        Self { transport: Transport::new(proxies) }
    }

    /// Asks until there is an answer; follows where it leads, from TLS to nothing less.
    ///
    /// # Errors
    /// When the server is away, or does not have it.
    pub fn get(&self, wish: &Wish<'_>) -> Result<Download, RegistryError> {
        let mut attempt = 1;
        loop {
            let (pause, error) = match self.once(wish) {
                Ok(Ok(download)) => return Ok(download),
                Ok(Err((after, error))) => (after.unwrap_or(PAUSE * attempt).min(LONGEST_PAUSE), error),
                Err(error) if error.is_worth_retrying(attempt) => (PAUSE * attempt, error),
                Err(error) => return Err(error),
            };
            if attempt >= ATTEMPTS {
                return Err(error);
            }
            tracing::debug!("{error}; trying again");
            std::thread::sleep(pause);
            attempt += 1;
        }
    }

    /// The inner error may be another one in a while.
    fn once(&self, wish: &Wish<'_>) -> Result<Result<Download, (Option<Duration>, RegistryError)>, RegistryError> {
        let nowhere = Origin { plain: true, authority: String::new() };
        let leads = |from: &Origin, path: &str, to: &str| {
            let host = from.authority.clone();
            from.follow(to, path).ok_or_else(|| RegistryError::Redirect { host, to: to.to_owned() })
        };
        let (origin, mut path) = leads(&nowhere, "/", wish.url)?;
        let mut at = origin.clone();
        for _ in 0..MOST_REDIRECTS {
            let url = format!("{}://{}{path}", if at.plain { "http" } else { "https" }, at.authority);
            let unreachable = |error: ureq::Error| unreachable(&at.authority, error);
            let agent = self.transport.agent(at.plain, &at.authority, true).map_err(unreachable)?;
            let mut call = agent.get(&url);
            if let Some(accept) = wish.accept {
                call = call.header("accept", accept);
            }
            if let Some(token) = wish.token
                && at == origin
            {
                call = call.header("authorization", format!("Bearer {token}"));
            }
            let response = call.call().map_err(unreachable)?;
            match response.status() {
                StatusCode::OK => {
                    let size =
                        response.headers().get("content-length").and_then(|size| size.to_str().ok()?.parse().ok());
                    return Ok(Ok(Download { size, body: Box::new(response.into_body().into_reader()) }));
                }
                status if matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) => {
                    let to = response.headers().get("location").and_then(|to| to.to_str().ok()).unwrap_or_default();
                    (at, path) = leads(&at, &path, to)?;
                }
                status => {
                    let again = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                    let after = retry_after(&response);
                    let error = refusal(at.authority.clone(), wish.what, status, response);
                    return if again { Ok(Err((after, error))) } else { Err(error) };
                }
            }
        }
        Err(RegistryError::Redirect { host: origin.authority, to: format!("{MOST_REDIRECTS} further places") })
    }
}
