
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'chaos' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'chaos'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'chaos' {
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]')
            [CompletionResult]::new('--config-file', '--config-file', [CompletionResultType]::ParameterName, 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('run', 'run', [CompletionResultType]::ParameterValue, 'Run an experiment, watch it live, exit with its verdict')
            [CompletionResult]::new('create', 'create', [CompletionResultType]::ParameterValue, 'Register an experiment on a server and start it, without waiting')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List experiments')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Show one experiment and its latest run')
            [CompletionResult]::new('stop', 'stop', [CompletionResultType]::ParameterValue, 'Stop one or all runs now; returns when every fault is proven reverted')
            [CompletionResult]::new('delete', 'delete', [CompletionResultType]::ParameterValue, 'Delete an experiment and its runs; an active run is stopped and reverted first')
            [CompletionResult]::new('health', 'health', [CompletionResultType]::ParameterValue, 'Show the health score and each signal behind it')
            [CompletionResult]::new('report', 'report', [CompletionResultType]::ParameterValue, 'Print the report of a run')
            [CompletionResult]::new('validate', 'validate', [CompletionResultType]::ParameterValue, 'Check documents without touching anything')
            [CompletionResult]::new('init', 'init', [CompletionResultType]::ParameterValue, 'Write a commented starter document')
            [CompletionResult]::new('faults', 'faults', [CompletionResultType]::ParameterValue, 'List the faults, or show one with its parameters')
            [CompletionResult]::new('targets', 'targets', [CompletionResultType]::ParameterValue, 'Show what could be hit, and how many; changes nothing')
            [CompletionResult]::new('doctor', 'doctor', [CompletionResultType]::ParameterValue, 'Tell which faults this host can do, and why not')
            [CompletionResult]::new('recover', 'recover', [CompletionResultType]::ParameterValue, 'Undo whatever a dead process left')
            [CompletionResult]::new('config', 'config', [CompletionResultType]::ParameterValue, 'Show the configuration and where each value comes from')
            [CompletionResult]::new('demo', 'demo', [CompletionResultType]::ParameterValue, 'Run four experiments on a small real service and leave nothing')
            [CompletionResult]::new('serve', 'serve', [CompletionResultType]::ParameterValue, 'Run the server')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Print a completion script for a shell')
            [CompletionResult]::new('generate', 'generate', [CompletionResultType]::ParameterValue, 'Write the generated reference files')
            break
        }
        'chaos;run' {
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'File, folder, or - for standard input; may be given several times')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'File, folder, or - for standard input; may be given several times')
            [CompletionResult]::new('--file', '--file', [CompletionResultType]::ParameterName, 'File, folder, or - for standard input; may be given several times')
            [CompletionResult]::new('--type', '--type', [CompletionResultType]::ParameterName, 'Fault, e.g. pod_kill; `chaos faults` lists them')
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'Name of the experiment [default: made of app and type]')
            [CompletionResult]::new('--target-app', '--target-app', [CompletionResultType]::ParameterName, 'App on this host [default: as configured, else orchestrator]')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Namespace [default: default]')
            [CompletionResult]::new('--namespace', '--namespace', [CompletionResultType]::ParameterName, 'Namespace [default: default]')
            [CompletionResult]::new('--duration', '--duration', [CompletionResultType]::ParameterName, 'How long, e.g. 30s, 2m, or a number of seconds [default: 30s]')
            [CompletionResult]::new('--percent', '--percent', [CompletionResultType]::ParameterName, 'Share of the instances, e.g. 50 [default: one instance]')
            [CompletionResult]::new('--safety-threshold', '--safety-threshold', [CompletionResultType]::ParameterName, 'Health score below which nothing starts or goes on, 0 to 1 [default: as configured, else 0.8]')
            [CompletionResult]::new('--set', '--set', [CompletionResultType]::ParameterName, 'Parameter of the fault, a YAML scalar; may be given several times')
            [CompletionResult]::new('--seed', '--seed', [CompletionResultType]::ParameterName, 'Seed of every choice [default: drawn and recorded]')
            [CompletionResult]::new('--override', '--override', [CompletionResultType]::ParameterName, 'Caps to lift for this run: max_affected, last_ready_instance, unmanaged_kill')
            [CompletionResult]::new('--reason', '--reason', [CompletionResultType]::ParameterName, 'Why they are lifted; logged')
            [CompletionResult]::new('--expect', '--expect', [CompletionResultType]::ParameterName, 'Exit 0 when this is the verdict, 3 when it is another')
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]')
            [CompletionResult]::new('--config-file', '--config-file', [CompletionResultType]::ParameterName, 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]')
            [CompletionResult]::new('-R', '-R ', [CompletionResultType]::ParameterName, 'Look into folders below a folder too')
            [CompletionResult]::new('--recursive', '--recursive', [CompletionResultType]::ParameterName, 'Look into folders below a folder too')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Resolve targets, ask every gate and print the plan; change nothing')
            [CompletionResult]::new('--standalone', '--standalone', [CompletionResultType]::ParameterName, 'Run in this process although a server is configured')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'chaos;create' {
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'File, folder, or - for standard input; may be given several times')
            [CompletionResult]::new('--yaml', '--yaml', [CompletionResultType]::ParameterName, 'File, folder, or - for standard input; may be given several times')
            [CompletionResult]::new('--file', '--file', [CompletionResultType]::ParameterName, 'File, folder, or - for standard input; may be given several times')
            [CompletionResult]::new('--override', '--override', [CompletionResultType]::ParameterName, 'Caps to lift for this run: max_affected, last_ready_instance, unmanaged_kill')
            [CompletionResult]::new('--reason', '--reason', [CompletionResultType]::ParameterName, 'Why they are lifted; logged')
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]')
            [CompletionResult]::new('--config-file', '--config-file', [CompletionResultType]::ParameterName, 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]')
            [CompletionResult]::new('-R', '-R ', [CompletionResultType]::ParameterName, 'Look into folders below a folder too')
            [CompletionResult]::new('--recursive', '--recursive', [CompletionResultType]::ParameterName, 'Look into folders below a folder too')
            [CompletionResult]::new('--paused', '--paused', [CompletionResultType]::ParameterName, 'Register only, start nothing')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'chaos;list' {
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Only this namespace')
            [CompletionResult]::new('--namespace', '--namespace', [CompletionResultType]::ParameterName, 'Only this namespace')
            [CompletionResult]::new('--status', '--status', [CompletionResultType]::ParameterName, 'Only this status: pending, running, completed, stopped, blocked, cancelled, error')
            [CompletionResult]::new('--type', '--type', [CompletionResultType]::ParameterName, 'Only this type')
            [CompletionResult]::new('--verdict', '--verdict', [CompletionResultType]::ParameterName, 'Only this verdict: held, deviated, stopped, blocked, inconclusive, error')
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]')
            [CompletionResult]::new('--config-file', '--config-file', [CompletionResultType]::ParameterName, 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'chaos;status' {
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Its namespace')
            [CompletionResult]::new('--namespace', '--namespace', [CompletionResultType]::ParameterName, 'Its namespace')
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]')
            [CompletionResult]::new('--config-file', '--config-file', [CompletionResultType]::ParameterName, 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]')
            [CompletionResult]::new('-w', '-w', [CompletionResultType]::ParameterName, 'Go on until the run is finished')
            [CompletionResult]::new('--watch', '--watch', [CompletionResultType]::ParameterName, 'Go on until the run is finished')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'chaos;stop' {
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Its namespace')
            [CompletionResult]::new('--namespace', '--namespace', [CompletionResultType]::ParameterName, 'Its namespace')
            [CompletionResult]::new('--reason', '--reason', [CompletionResultType]::ParameterName, 'Why, for the journal')
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]')
            [CompletionResult]::new('--config-file', '--config-file', [CompletionResultType]::ParameterName, 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]')
            [CompletionResult]::new('--all', '--all', [CompletionResultType]::ParameterName, 'Everything that runs or waits')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'chaos;delete' {
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Its namespace')
            [CompletionResult]::new('--namespace', '--namespace', [CompletionResultType]::ParameterName, 'Its namespace')
            [CompletionResult]::new('--reason', '--reason', [CompletionResultType]::ParameterName, 'Why, for the journal of a run that is stopped by it')
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]')
            [CompletionResult]::new('--config-file', '--config-file', [CompletionResultType]::ParameterName, 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'chaos;health' {
            [CompletionResult]::new('--target-app', '--target-app', [CompletionResultType]::ParameterName, 'App whose readiness counts')
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]')
            [CompletionResult]::new('--config-file', '--config-file', [CompletionResultType]::ParameterName, 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'chaos;report' {
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Its namespace')
            [CompletionResult]::new('--namespace', '--namespace', [CompletionResultType]::ParameterName, 'Its namespace')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'Form of the report [default: text, or json with --output json]')
            [CompletionResult]::new('--run', '--run', [CompletionResultType]::ParameterName, 'This run instead of the latest')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Write it to a file')
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]')
            [CompletionResult]::new('--config-file', '--config-file', [CompletionResultType]::ParameterName, 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'chaos;validate' {
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]')
            [CompletionResult]::new('--config-file', '--config-file', [CompletionResultType]::ParameterName, 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]')
            [CompletionResult]::new('-R', '-R ', [CompletionResultType]::ParameterName, 'Look into folders below a folder too')
            [CompletionResult]::new('--recursive', '--recursive', [CompletionResultType]::ParameterName, 'Look into folders below a folder too')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'chaos;init' {
            [CompletionResult]::new('--type', '--type', [CompletionResultType]::ParameterName, 'Fault that it starts with')
            [CompletionResult]::new('--target-app', '--target-app', [CompletionResultType]::ParameterName, 'App that it hits')
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]')
            [CompletionResult]::new('--config-file', '--config-file', [CompletionResultType]::ParameterName, 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]')
            [CompletionResult]::new('--force', '--force', [CompletionResultType]::ParameterName, 'Overwrite a file that is there')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'chaos;faults' {
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]')
            [CompletionResult]::new('--config-file', '--config-file', [CompletionResultType]::ParameterName, 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'chaos;targets' {
            [CompletionResult]::new('--target-app', '--target-app', [CompletionResultType]::ParameterName, 'A unit, a container, or processes by this name [default: as configured]')
            [CompletionResult]::new('--app', '--app', [CompletionResultType]::ParameterName, 'A unit, a container, or processes by this name [default: as configured]')
            [CompletionResult]::new('--process-name', '--process-name', [CompletionResultType]::ParameterName, 'Processes with this name of the executable or of argv[0]')
            [CompletionResult]::new('--cmdline', '--cmdline', [CompletionResultType]::ParameterName, 'Processes with this part in their command line')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'Processes of this user')
            [CompletionResult]::new('--port', '--port', [CompletionResultType]::ParameterName, 'Processes that listen on this port')
            [CompletionResult]::new('--unit', '--unit', [CompletionResultType]::ParameterName, 'A systemd unit')
            [CompletionResult]::new('--container', '--container', [CompletionResultType]::ParameterName, 'A container by id')
            [CompletionResult]::new('--cgroup', '--cgroup', [CompletionResultType]::ParameterName, 'A cgroup by its path')
            [CompletionResult]::new('--pid', '--pid', [CompletionResultType]::ParameterName, 'One process')
            [CompletionResult]::new('--select', '--select', [CompletionResultType]::ParameterName, 'How many of what matches: one, all, 3, 50%, <=30%')
            [CompletionResult]::new('--seed', '--seed', [CompletionResultType]::ParameterName, 'Seed of the choice')
            [CompletionResult]::new('--max-affected', '--max-affected', [CompletionResultType]::ParameterName, 'Cap on the affected share')
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]')
            [CompletionResult]::new('--config-file', '--config-file', [CompletionResultType]::ParameterName, 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'chaos;doctor' {
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]')
            [CompletionResult]::new('--config-file', '--config-file', [CompletionResultType]::ParameterName, 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'chaos;recover' {
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]')
            [CompletionResult]::new('--config-file', '--config-file', [CompletionResultType]::ParameterName, 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]')
            [CompletionResult]::new('--force', '--force', [CompletionResultType]::ParameterName, 'Also end the faults of living fault processes')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'chaos;config' {
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]')
            [CompletionResult]::new('--config-file', '--config-file', [CompletionResultType]::ParameterName, 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Print every value with its origin')
            break
        }
        'chaos;config;show' {
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]')
            [CompletionResult]::new('--config-file', '--config-file', [CompletionResultType]::ParameterName, 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'chaos;demo' {
            [CompletionResult]::new('--scenario', '--scenario', [CompletionResultType]::ParameterName, 'Only this scenario; may be given several times')
            [CompletionResult]::new('--breaker', '--breaker', [CompletionResultType]::ParameterName, 'The service''s circuit breaker')
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]')
            [CompletionResult]::new('--config-file', '--config-file', [CompletionResultType]::ParameterName, 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]')
            [CompletionResult]::new('--keep', '--keep', [CompletionResultType]::ParameterName, 'Leave the service up on 127.0.0.1:8080 until Ctrl-C')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'chaos;serve' {
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Where to listen; only addresses of this host')
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]')
            [CompletionResult]::new('--config-file', '--config-file', [CompletionResultType]::ParameterName, 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'chaos;completions' {
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]')
            [CompletionResult]::new('--config-file', '--config-file', [CompletionResultType]::ParameterName, 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'chaos;generate' {
            [CompletionResult]::new('--out', '--out', [CompletionResultType]::ParameterName, 'The folder')
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]')
            [CompletionResult]::new('--config-file', '--config-file', [CompletionResultType]::ParameterName, 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more on standard error; twice: even more')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
