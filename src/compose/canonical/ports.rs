//! `ports`: `[[IP:][PUBLISHED]:]TARGET[/PROTOCOL]` becomes one mapping for each target.

use std::net::IpAddr;

use super::kind::wrong_kind;
use crate::compose::model::PortRange;
use crate::compose::schema::{PORT, Shape};
use crate::compose::session::{ModelPath, Session};
use crate::compose::yaml::{Mapping, Node, Tag, Value};
use crate::diag::Diagnostic;

const FORMS: &str = "the forms are TARGET, PUBLISHED:TARGET, IP:PUBLISHED:TARGET and IP::TARGET, each with /udp if need be; \
                     an IPv6 address goes in brackets";

pub(super) fn ports(node: &mut Node, path: &mut ModelPath, session: &mut Session) {
    let Value::Sequence(items) = &mut node.value else {
        let hint = match node.scalar_text() {
            Some(text) => format!("write it as a list: [\"{text}\"]"),
            None => "write it as a list: `- \"8080:80\"`, or `- target: 80` with the other keys below".to_owned(),
        };
        let hint = Some(hint);
        return wrong_kind(node, "a list", hint, path, session);
    };
    let mut entries = Vec::with_capacity(items.len());
    let mut full = false;
    for (index, mut item) in std::mem::take(items).into_iter().enumerate() {
        if full {
            break;
        }
        path.index(index, |path| match &item.value {
            _ if session.is_template(&item) => entries.push(item.clone()),
            Value::Int(_) | Value::String(_) => {
                let text = item.scalar_text().unwrap_or_default();
                match short(&text) {
                    Ok(specs) if specs.len() > 1 && !session.grow(specs.len() * 6, item.span) => full = true,
                    Ok(specs) => entries.extend(specs.iter().map(|spec| spec.node(&item))),
                    Err(fault) => {
                        let diagnostic = Diagnostic::error(format!("invalid port {text:?}"))
                            .at(fault.place(&item, &text), fault.text)
                            .path(path.as_str())
                            .hint(fault.hint);
                        session.report_node(&item, diagnostic);
                    }
                }
            }
            Value::Mapping(_) => {
                super::structure::canonicalise(&mut item, &Shape::Object(&PORT), path, session);
                long(&mut item, path, session);
                entries.push(item.clone());
            }
            Value::Null => {
                session
                    .report(Diagnostic::error("a port has no value").at(item.span, "nothing here").path(path.as_str()));
            }
            _ => wrong_kind(&mut item, "a port", Some(FORMS.to_owned()), path, session),
        });
    }
    node.value = Value::Sequence(entries);
}

/// Checks the values of a long entry.
fn long(item: &mut Node, path: &mut ModelPath, session: &mut Session) {
    let Some(mapping) = item.as_mapping_mut() else { return };
    // An empty text is as if it were not there.
    mapping.0.retain(|key, entry| {
        !matches!(key.as_str(), "published" | "protocol" | "host_ip") || entry.node.as_str() != Some("")
    });
    if let Some(published) = mapping.get_mut("published")
        && !session.is_template(published)
        && let Some(text) = published.scalar_text()
        && text.parse::<PortRange>().is_err()
    {
        let diagnostic = Diagnostic::error(format!("{text:?} is not a port or a range of ports"))
            .at(published.span, "")
            .path(format!("{}.published", path.as_str()))
            .hint("a number from 0 to 65535, or a range such as \"8000-8010\"");
        session.report_node(published, diagnostic);
        published.value = Value::Null;
    }
    if let Some(protocol) = mapping.get_mut("protocol")
        && !session.is_template(protocol)
        && let Value::String(text) = &mut protocol.value
    {
        text.make_ascii_lowercase();
    }
    if let Some(protocol) = mapping.get("protocol")
        && !session.is_template(protocol)
        && let Some(text) = protocol.as_str()
        && !["tcp", "udp", "sctp"].contains(&text)
    {
        let diagnostic = Diagnostic::error(format!("{text:?} is not a protocol"))
            .at(protocol.span, "")
            .path(format!("{}.protocol", path.as_str()))
            .hint("known protocols: `tcp`, `udp`, `sctp`");
        session.report_node(protocol, diagnostic);
    }
    if let Some(host_ip) = mapping.get("host_ip")
        && let Some(text) = host_ip.as_str()
        && !text.is_empty()
        && text.parse::<IpAddr>().is_err()
    {
        let diagnostic = Diagnostic::error(format!("{text:?} is not an IP address"))
            .at(host_ip.span, "")
            .path(format!("{}.host_ip", path.as_str()));
        session.report_node(host_ip, diagnostic);
    }
}

/// One published target.
#[derive(Debug, PartialEq, Eq)]
struct Spec {
    host_ip: Option<String>,
    published: Option<String>,
    target: u16,
    protocol: &'static str,
}

impl Spec {
    fn node(&self, item: &Node) -> Node {
        let mut mapping = Mapping::default();
        let mut put = |key: &str, value| mapping.insert(key, Node { tag: Tag::None, ..item.with(value) });
        put("mode", Value::String("ingress".to_owned()));
        if let Some(host_ip) = &self.host_ip {
            put("host_ip", Value::String(host_ip.clone()));
        }
        put("target", Value::Int(self.target.into()));
        if let Some(published) = &self.published {
            put("published", Value::String(published.clone()));
        }
        put("protocol", Value::String(self.protocol.to_owned()));
        Node { tag: Tag::None, ..item.with(Value::Mapping(Box::new(mapping))) }
    }
}

/// What is wrong with a short port, and which part of it.
struct Fault {
    part: String,
    text: String,
    hint: &'static str,
}

impl Fault {
    fn new(part: &str, text: impl Into<String>) -> Self {
        Self { part: part.to_owned(), text: text.into(), hint: FORMS }
    }

    /// The faulty part, when it stands in the file as it is.
    fn place(&self, item: &Node, text: &str) -> crate::diag::Span {
        let width = (item.span.end_column as usize).saturating_sub(item.span.column as usize);
        let quotes = width.saturating_sub(text.chars().count()) / 2;
        match text.find(&self.part) {
            Some(at) if item.origin == Default::default() && !self.part.is_empty() && quotes <= 1 => {
                item.span.slice(quotes + text[..at].chars().count(), self.part.chars().count())
            }
            _ => item.span,
        }
    }
}

fn short(text: &str) -> Result<Vec<Spec>, Fault> {
    let (rest, protocol) = text.rsplit_once('/').map_or((text, "tcp"), |(rest, protocol)| (rest, protocol));
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => "tcp",
        "udp" => "udp",
        "sctp" => "sctp",
        _ => return Err(Fault::new(protocol, "not a protocol: tcp, udp or sctp")),
    };
    let (rest, target) = rest.rsplit_once(':').map_or((None, rest), |(rest, target)| (Some(rest), target));
    let (host_ip, published) = match rest {
        None => (None, None),
        Some(rest) => match rest.rsplit_once(':') {
            // `[::1]:80` alone: the address has no published port before the target.
            Some((host_ip, published)) if !published.ends_with(']') => (Some(host_ip), Some(published)),
            _ if rest.starts_with('[') => {
                return Err(Fault::new(rest, "an address needs a published port or `::` after it"));
            }
            _ => (None, Some(rest)),
        },
    };
    if target.is_empty() {
        return Err(Fault::new(text, "no target port"));
    }
    let targets = range(target, "the target")?;
    if targets.first == 0 {
        return Err(Fault::new(target, "a target port is at least 1"));
    }
    let host_ip = match host_ip {
        None | Some("") => None,
        Some(text) => Some(address(text)?),
    };
    let published = match published {
        None | Some("") => None,
        Some(text) => Some((text, range(text, "the published port")?)),
    };
    let count = targets.last - targets.first;
    let mut specs: Vec<Spec> = match published {
        Some((text, range)) if range.last - range.first != count => {
            if count != 0 {
                return Err(Fault::new(text, "the two ranges differ in length"));
            }
            // Any free port of the range.
            vec![Spec { host_ip, published: Some(range.to_string()), target: targets.first, protocol }]
        }
        published => (0..=count)
            .map(|offset| Spec {
                host_ip: host_ip.clone(),
                published: published.map(|(_, range)| (range.first + offset).to_string()),
                target: targets.first + offset,
                protocol,
            })
            .collect(),
    };
    // The peer orders the targets of a range as text.
    specs.sort_by_cached_key(|spec| spec.target.to_string());
    Ok(specs)
}

fn range(text: &str, what: &str) -> Result<PortRange, Fault> {
    text.parse().map_err(|_| {
        let number = text.split('-').any(|part| part.bytes().all(|byte| byte.is_ascii_digit()) && part.len() > 4);
        let mut fault = Fault::new(text, format!("{what} is not a port from 0 to 65535"));
        if !number && text.split('-').count() > 2 {
            fault.text = format!("{what} is not a range FIRST-LAST");
        }
        fault
    })
}

fn address(text: &str) -> Result<String, Fault> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let parsed = match bare {
        Some(bare) => bare.parse::<IpAddr>(),
        None if text.contains(':') => return Err(Fault::new(text, "an IPv6 address must be in brackets")),
        None => text.parse::<IpAddr>(),
    };
    match parsed {
        Ok(_) => Ok(bare.unwrap_or(text).to_owned()),
        Err(_) => Err(Fault::new(text, "not an IP address")),
    }
}

#[cfg(test)]
mod tests {
    use super::short;

    fn show(text: &str) -> String {
        match short(text) {
            Ok(specs) => specs
                .iter()
                .map(|it| {
                    let published = it.published.as_deref().unwrap_or_default();
                    format!("{}|{published}|{}/{}", it.host_ip.as_deref().unwrap_or_default(), it.target, it.protocol)
                })
                .collect::<Vec<_>>()
                .join(" "),
            Err(fault) => format!("{}: {}", fault.part, fault.text),
        }
    }

    #[test]
    fn short_forms() {
        for (text, shown) in [
            ("80", "||80/tcp"),
            ("8080:80", "|8080|80/tcp"),
            ("127.0.0.1:8080:80/UDP", "127.0.0.1|8080|80/udp"),
            ("1.2.3.4::80", "1.2.3.4||80/tcp"),
            ("[::1]:81:80", "::1|81|80/tcp"),
            (":80", "||80/tcp"),
            ("8-10", "||10/tcp ||8/tcp ||9/tcp"),
            ("8080-8081:80-81", "|8080|80/tcp |8081|81/tcp"),
            ("8000-9000:80", "|8000-9000|80/tcp"),
            ("::1:80:80", "::1: an IPv6 address must be in brackets"),
            ("99999:80", "99999: the published port is not a port from 0 to 65535"),
            ("80:", "80:: no target port"),
            ("80:80/foo", "foo: not a protocol: tcp, udp or sctp"),
            ("80-81:80-82", "80-81: the two ranges differ in length"),
            ("host:80:80", "host: not an IP address"),
        ] {
            assert_eq!(show(text), shown, "{text}");
        }
    }
}
