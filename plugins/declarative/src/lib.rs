//! No language: the exports of the contract, carried out as the runtime's YAML declares. What they do
//! is in the modules.

pub mod detection;
pub mod environment;
pub mod verification;

#[cfg(target_family = "wasm")]
mod component {
    use attune_plugin::host::Host;
    use attune_plugin::tools::Executable;
    use attune_plugin::types::{DeclaredVersion, Failure};
    use attune_plugin::{detection, environment, verification};

    struct Declarative;

    attune_plugin::bindings::export!(Declarative with_types_in attune_plugin::bindings);

    impl detection::Guest for Declarative {
        fn detect(request: detection::Request) -> Result<Vec<detection::Candidate>, Failure> {
            crate::detection::detect(&Host::default(), request)
        }

        fn aliases(_versions: Vec<DeclaredVersion>) -> Vec<detection::Alias> {
            crate::detection::aliases()
        }
    }

    impl verification::Guest for Declarative {
        fn verify(
            request: verification::Request,
            program: &Executable,
        ) -> Result<verification::Verdict, Failure> {
            crate::verification::verify(&Host::default(), request, &|invocation| program.run(invocation))
        }
    }

    impl environment::Guest for Declarative {
        fn plan(request: environment::PlanRequest) -> Result<environment::BuildPlan, Failure> {
            crate::environment::plan(&Host::default(), &request)
        }

        fn check(request: environment::CheckRequest) -> Result<(), Failure> {
            crate::environment::check(&Host::default(), &request)
        }

        fn launch(request: environment::LaunchRequest) -> Result<environment::Command, Failure> {
            Ok(crate::environment::launch(request))
        }
    }
}
