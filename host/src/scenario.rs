//! Having a component answer on a machine that is only described, and comparing what it says with what it should.
//!
//! [`crate::pack::scenario`] reads the file. [`play`] asks the component, within what its runtime's YAML asks to be granted, `compare`
//! says where the answers are not as expected, and [`record`] writes a scenario down from what was seen on a real machine.

mod compare;
pub mod record;

use std::path::Path;
use std::sync::Arc;

use serde_json::Value as Json;

pub use compare::Difference;

use crate::detection;
use crate::installation::{Candidate, Failure, FailureClass, Installation, Verdict};
use crate::pack::Runtime;
use crate::pack::problem::Position;
use crate::pack::scenario::{Asked, Call, Ground, Scenario};
use crate::plugin::{
    Answer, CheckRequest, Described, Function, LaunchRequest, Machine, PlanRequest, Plugin, PluginError,
    Plugins, RuntimePlugin, RuntimeScope, Surroundings,
};
use crate::shape::answer;
use crate::verification;

/// What came of one call.
#[derive(Debug)]
pub struct Played {
    /// What was called.
    pub name: &'static str,
    /// Where the call is written.
    pub position: Position,
    /// What the component answered, as data.
    pub answer: Json,
    /// Where that is not as expected.
    pub differences: Vec<Difference>,
    /// What programs were asked that the machine has no answer for.
    pub unanswered: Vec<String>,
}

impl Played {
    /// Whether it went as expected.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.differences.is_empty() && self.unanswered.is_empty()
    }
}

impl Ground {
    /// The machine, and what the names in grants mean on it.
    pub(crate) fn surroundings(&self, machine: Machine) -> Surroundings {
        Surroundings {
            machine,
            home: self.home.clone(),
            // A folder with `:` in its name can't be on it.
            path: std::env::join_paths(&self.path).unwrap_or_default(),
            variables: self.variables.clone(),
        }
    }
}

/// Makes the calls of a scenario. A component that fails is an answer too; an error is that it could not be bound.
pub async fn play(
    plugins: &Plugins,
    plugin: &Arc<Plugin>,
    runtime: &Runtime,
    scenario: &Scenario,
) -> Result<Vec<Played>, PluginError> {
    let things = scenario.machine.things.iter().map(|(path, thing)| (path.clone(), thing.clone()));
    let machine = Arc::new(Described::new(things));
    let grants = runtime.plugin.as_ref().map(|plugin| plugin.grants.clone()).unwrap_or_default();
    let scope = RuntimeScope { runtime: runtime.reference.clone(), grants, patterns: runtime.patterns() };
    let surroundings = scenario.machine.surroundings(Machine::Described(Arc::clone(&machine)));
    let component = plugins.runtime_in(plugin, scope, surroundings.clone())?;
    let mut stage = Stage { component, runtime, machine: &surroundings.machine, detected: None };
    let mut played = Vec::new();
    for call in &scenario.calls {
        let answer = stage.ask(&call.asked).await;
        let Call { expected, span, asked } = call;
        played.push(Played {
            name: asked.name(),
            position: scenario.source.position(span),
            differences: expected
                .as_ref()
                .map(|expected| compare::compare(expected, &answer, &scenario.source))
                .unwrap_or_default(),
            answer,
            unanswered: machine.take_unanswered(),
        });
    }
    Ok(played)
}

/// A component on a machine.
struct Stage<'a> {
    component: RuntimePlugin,
    runtime: &'a Runtime,
    machine: &'a Machine,
    /// Asked for once: later calls are about what it found.
    detected: Option<Result<Vec<Candidate>, PluginError>>,
}

impl Stage<'_> {
    async fn ask(&mut self, asked: &Asked) -> Json {
        match self.answer(asked).await {
            Ok(answer) => answer,
            Err(failure) => answer::failed(&failure),
        }
    }

    async fn answer(&mut self, asked: &Asked) -> Result<Json, Failure> {
        let settings = self.runtime.settings().to_vec();
        match asked {
            Asked::Detect => {
                // Asked again, since it is this call that is looked at.
                self.detected = None;
                self.detect().await.map(answer::candidates)
            }
            Asked::Aliases => {
                let answer = self.component.aliases(&self.runtime.versions).await;
                answer.map(|answer| answer::aliases(&answer.value)).map_err(|error| answer::cause(&error))
            }
            Asked::Verify { installation } => {
                let installation = self.installation(installation).await?;
                self.verify(&installation).await.map(|verdict| answer::verdict(&verdict))
            }
            Asked::Plan { installation, manifests } => {
                let installation = self.verified(installation).await?;
                let config = self.config(&installation);
                let manifests = manifests.clone();
                let request = PlanRequest { installation, config, settings, manifests };
                given(self.component.plan(request).await, answer::plan)
            }
            Asked::Check { installation, environment, thorough } => {
                let installation = self.verified(installation).await?;
                let config = self.config(&installation);
                let (environment, thorough) = (environment.clone(), *thorough);
                let request = CheckRequest { environment, installation, config, settings, thorough };
                given(self.component.check(request).await, answer::health)
            }
            Asked::Launch { installation, environment, entry_point, arguments } => {
                let installation = self.verified(installation).await?;
                let request = LaunchRequest {
                    config: self.config(&installation),
                    installation,
                    settings,
                    environment: environment.clone(),
                    entry_point: entry_point.clone(),
                    arguments: arguments.clone(),
                };
                given(self.component.launch(request).await, answer::command)
            }
        }
    }

    async fn verify(&self, installation: &Installation) -> Result<Verdict, Failure> {
        let version = self.runtime.version_covering(&installation.version.semver);
        let distributions = self.runtime.distributions_of(version);
        let gone =
            || Failure::new(FailureClass::NotFound, format!("nothing is at {}", installation.path.display()));
        let identity = self.machine.identity(&installation.path).ok_or_else(gone)?;
        let request = verification::request(self.runtime, installation, identity, distributions);
        let answer = self.component.verify(request).await;
        answer.map(|answer| answer.value).map_err(|error| answer::cause(&error))
    }

    /// What the component finds at a path, as it is once it is verified: environments are planned for that.
    async fn verified(&mut self, path: &Path) -> Result<Installation, Failure> {
        let installation = self.installation(path).await?;
        if !self.component.plugin().exports(Function::Verify) {
            return Ok(installation);
        }
        let Verdict { version, attributes, .. } = self.verify(&installation).await?;
        Ok(Installation { version, attributes, ..installation })
    }

    async fn detect(&mut self) -> Result<&[Candidate], Failure> {
        if self.detected.is_none() {
            let answer = self.component.detect(detection::request(self.runtime)).await;
            self.detected = Some(answer.map(|answer| answer.value));
        }
        match &self.detected {
            Some(Ok(candidates)) => Ok(candidates),
            Some(Err(error)) => Err(answer::cause(error)),
            None => Ok(&[]),
        }
    }

    /// What the component finds at a path.
    async fn installation(&mut self, path: &Path) -> Result<Installation, Failure> {
        let found = self.detect().await?;
        let mut installations = found.iter().filter_map(|candidate| candidate.outcome.as_ref().ok());
        if let Some(installation) = installations.clone().find(|installation| installation.path == path) {
            return Ok(installation.clone());
        }
        let known = installations.next().map_or_else(
            || "none at all".to_owned(),
            |first| {
                installations.fold(first.path.display().to_string(), |all, next| {
                    format!("{all}, {}", next.path.display())
                })
            },
        );
        let message = format!("`detect` finds no installation at {}: it finds {known}", path.display());
        Err(Failure::new(FailureClass::NotFound, message))
    }

    fn config(&self, installation: &Installation) -> crate::pack::ExecutionConfig {
        self.runtime.config_of(self.runtime.version_covering(&installation.version.semver)).clone()
    }
}

fn given<T>(answer: Result<Answer<T>, PluginError>, shown: fn(&T) -> Json) -> Result<Json, Failure> {
    answer.map(|answer| shown(&answer.value)).map_err(|error| answer::cause(&error))
}
