//! Where answers come from: the flags that the service and a single question share.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context;

use crate::api::duration::Duration;
use crate::cli::Failure;
use crate::core::lookup::url::Url;
use crate::core::lookup::whois::{PORT, Server};
use crate::lookup::{Databases, Places, Registries, RegistryConfig, Service};
use crate::metrics::LookupMetrics;
use crate::upstream::bootstrap::Place;
use crate::upstream::{Times, Upstream};

/// Where answers come from.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct SourceArgs {
    /// Files of makers (IEEE CSV or Wireshark manuf), or folders of them
    /// [default: /var/lib/ieee-data, then /usr/share/ieee-data]
    #[arg(long, value_name = "PATH", value_delimiter = ',', env = "VIPKEEPER_VENDORS")]
    vendors: Vec<PathBuf>,
    /// Geo databases in MaxMind's format; the first that knows something counts
    #[arg(long, value_name = "FILE", value_delimiter = ',', env = "VIPKEEPER_GEO")]
    geo: Vec<PathBuf>,
    /// Lists of your networks: a prefix and a name on each line
    #[arg(long, value_name = "FILE", value_delimiter = ',', env = "VIPKEEPER_NETWORKS")]
    networks: Vec<PathBuf>,
    /// Ask no registry: answer from files and resources only
    #[arg(long, env = "VIPKEEPER_OFFLINE", value_parser = clap::builder::FalseyValueParser::new())]
    offline: bool,
    /// Where the bootstrap registries of RDAP are (RFC 9224): a URL, a folder, or off
    #[arg(long, value_name = "URL|DIR|off", default_value = "https://data.iana.org/rdap/", env = "VIPKEEPER_RDAP")]
    rdap: Rdap,
    /// The WHOIS server where chains of referrals begin, or off
    #[arg(long, value_name = "HOST[:PORT]|off", default_value = "whois.iana.org", env = "VIPKEEPER_WHOIS")]
    whois: Whois,
    /// More authorities to trust for HTTPS, as PEM
    #[arg(long, value_name = "FILE", env = "VIPKEEPER_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// How long connecting to a server may take
    #[arg(long, value_name = "TIME", default_value = "3s", env = "VIPKEEPER_CONNECT_TIMEOUT")]
    connect_timeout: Duration,
    /// How long one server may take
    #[arg(long, value_name = "TIME", default_value = "5s", env = "VIPKEEPER_HOP_TIMEOUT")]
    hop_timeout: Duration,
    /// How long all servers together may take
    #[arg(long, value_name = "TIME", default_value = "10s", env = "VIPKEEPER_TIMEOUT")]
    timeout: Duration,
}

/// `--rdap`.
#[derive(Debug, Clone)]
struct Rdap(Option<Place>);

impl FromStr for Rdap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self(None)),
            text if text.contains("://") => match Url::parse(text) {
                Some(url) => Ok(Self(Some(Place::Url(url)))),
                None => Err("write a URL such as https://data.iana.org/rdap/, a folder, or off".to_owned()),
            },
            path => Ok(Self(Some(Place::Directory(PathBuf::from(path))))),
        }
    }
}

/// `--whois`.
#[derive(Debug, Clone)]
struct Whois(Option<Server>);

impl FromStr for Whois {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        // A URL's authority has the forms that are wanted here: name, address, [IPv6], each with a port or without.
        let url = Url::parse(&format!("http://{text}/")).filter(|_| !text.contains(['/', '?', '#']));
        let url = url.ok_or("write a host name or address, with :PORT if it is not 43, or off")?;
        let port = if text.ends_with(&format!(":{}", url.port)) { url.port } else { PORT };
        Ok(Self(Some(Server { host: url.host, port })))
    }
}

impl SourceArgs {
    /// A client of another look-up service, which takes as long as it may ask registries itself, and a little longer.
    pub(super) fn client(&self) -> anyhow::Result<Upstream> {
        self.upstream(self.timeout.0 + self.connect_timeout.0)
    }

    /// A client for exchanges that take at most `hop`.
    fn upstream(&self, hop: std::time::Duration) -> anyhow::Result<Upstream> {
        let authorities = match &self.ca_file {
            Some(path) => Some(std::fs::read(path).with_context(|| format!("--ca-file {}", path.display()))?),
            None => None,
        };
        let times = Times { connect: self.connect_timeout.0, hop };
        Upstream::new(times, authorities.as_deref()).map_err(|error| Failure::usage(format!("--ca-file: {error}")))
    }

    /// Opens everything. What `tune` changes of the defaults is how much is kept and how often is asked.
    pub(super) fn open(
        self,
        metrics: &LookupMetrics,
        tune: impl FnOnce(&mut RegistryConfig),
    ) -> anyhow::Result<Service> {
        let registries = if self.offline {
            None
        } else {
            let upstream = self.upstream(self.hop_timeout.0)?;
            let mut config = RegistryConfig {
                rdap: self.rdap.0.clone(),
                whois: self.whois.0.clone(),
                whole: self.timeout.0,
                ..RegistryConfig::default()
            };
            tune(&mut config);
            Some(Arc::new(Registries::new(config, upstream, metrics.clone())))
        };
        let places = Places { vendors: self.vendors, geo: self.geo, networks: self.networks };
        let databases = Databases::open(places, metrics).map_err(anyhow::Error::msg)?;
        Ok(Service { databases, registries, resources: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_in_every_form() {
        for (text, host, port) in [
            ("whois.iana.org", "whois.iana.org", 43),
            ("127.0.0.1:4343", "127.0.0.1", 4343),
            ("[::1]:4343", "::1", 4343),
            ("whois:80", "whois", 80),
        ] {
            assert_eq!(text.parse::<Whois>().unwrap().0, Some(Server { host: host.to_owned(), port }));
        }
        assert_eq!("off".parse::<Whois>().unwrap().0, None);
        for text in ["", "a b", "host/x", "host:x", "http://host"] {
            assert!(text.parse::<Whois>().is_err(), "{text}");
        }
        assert!("ftp://x".parse::<Rdap>().is_err());
    }
}
