//! `logging`: driver and options.

use super::Fault;
use crate::compose::model::Service;
use crate::record::Logging;
use crate::record::logs::Rotation;

pub(super) fn lower(name: &str, service: &Service, faults: &mut Vec<Fault>) -> Logging {
    let Some(wanted) = &service.logging else {
        return Logging { driver: "json-file".to_owned(), options: [].into() };
    };
    let logging = Logging {
        driver: wanted.driver.clone().unwrap_or_else(|| "json-file".to_owned()),
        options: wanted.options.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
    };
    if !matches!(logging.driver.as_str(), "" | "json-file" | "local" | "none") {
        let message = format!("there is no logging driver `{}`", logging.driver);
        let hint = "use `json-file`, `local` or `none`; all of them keep or drop lines on this machine";
        faults.push(Fault::new(format!("services.{name}.logging.driver"), message).hint(hint));
    } else if let Err(reason) = Rotation::parse(&logging) {
        faults.push(Fault::new(format!("services.{name}.logging.options"), reason));
    }
    logging
}
