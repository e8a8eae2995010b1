//! A blob as a stream that survives broken connections.

use std::io::{self, Read};

use super::super::manifest::Descriptor;
use super::super::reference::Reference;
use super::endpoint::Endpoint;
use super::http::Request;
use super::{Client, RegistryError};

/// Reads a blob of a known size. What is missing after a break is asked for by range.
pub struct BlobReader<'a> {
    client: &'a Client,
    endpoint: Endpoint,
    reference: &'a Reference,
    path: String,
    what: String,
    body: Box<dyn Read + Send>,
    at: u64,
    size: u64,
    /// Breaks since the last byte came.
    breaks: u32,
}

impl<'a> BlobReader<'a> {
    pub fn open(
        client: &'a Client,
        endpoint: Endpoint,
        reference: &'a Reference,
        blob: &Descriptor,
    ) -> Result<Self, RegistryError> {
        let path = format!("{}/blobs/{}", endpoint.repository(reference), blob.digest);
        let what = format!("part {} of {}", blob.digest.short(), reference.familiar());
        let mut reader = Self {
            client,
            endpoint,
            reference,
            path,
            what,
            body: Box::new(io::empty()),
            at: 0,
            size: blob.size,
            breaks: 0,
        };
        reader.body = reader.ask()?;
        Ok(reader)
    }

    fn ask(&self) -> Result<Box<dyn Read + Send>, RegistryError> {
        let request = Request { path: &self.path, accept: None, from: self.at, what: &self.what };
        let response = self.client.request(&self.endpoint, self.reference, &request)?;
        let partial = response.status().as_u16() == 206;
        let start = response
            .headers()
            .get("content-range")
            .and_then(|range| range.to_str().ok())
            .and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse::<u64>().ok());
        let mut body = response.into_body().into_reader();
        if self.at == 0 && !partial {
            return Ok(Box::new(body));
        }
        match (partial, start) {
            (true, Some(start)) if start == self.at => {}
            (true, _) => {
                let why = "it sent another part than was asked for".to_owned();
                return Err(RegistryError::Protocol { host: self.endpoint.host().into(), why });
            }
            // It does not know ranges and starts anew.
            (false, _) => {
                io::copy(&mut (&mut body).take(self.at), &mut io::sink())
                    .map_err(|source| RegistryError::Broken { host: self.endpoint.host().into(), source })?;
            }
        }
        Ok(Box::new(body))
    }
}

impl Read for BlobReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let broken = match self.body.read(buffer) {
                // A byte too many is passed on: the size and digest are checked by whoever reads.
                Ok(0) if self.at >= self.size => return Ok(0),
                Ok(0) => io::Error::from(io::ErrorKind::UnexpectedEof),
                Ok(read) => {
                    self.at += read as u64;
                    self.breaks = 0;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            // Everything came, only the end was not said properly.
            if self.at == self.size {
                return Ok(0);
            }
            self.breaks += 1;
            let host = self.endpoint.host().to_owned();
            if self.breaks >= self.client.options.attempts {
                return Err(io::Error::other(RegistryError::Broken { host, source: broken }));
            }
            tracing::debug!("{host}: {} broke off at {} of {} bytes: {broken}", self.what, self.at, self.size);
            self.client.pause(self.breaks, None);
            match self.ask() {
                Ok(body) => self.body = body,
                // It breaks again: another attempt, as long as there are some.
                Err(RegistryError::Broken { .. }) => self.body = Box::new(io::empty()),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}
