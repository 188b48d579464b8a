# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_chaos_global_optspecs
    string join \n server= config-file= state= ca= output= q/quiet v/verbose h/help V/version
end

function __fish_chaos_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_chaos_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_chaos_using_subcommand
    set -l cmd (__fish_chaos_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c chaos -n "__fish_chaos_needs_command" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_needs_command" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_needs_command" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_needs_command" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_needs_command" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_needs_command" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_needs_command" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_needs_command" -s V -l version -d 'Print version'
complete -c chaos -n "__fish_chaos_needs_command" -f -a "run" -d 'Run an experiment, watch it live, exit with its verdict'
complete -c chaos -n "__fish_chaos_needs_command" -f -a "create" -d 'Register an experiment on a server and start it, without waiting'
complete -c chaos -n "__fish_chaos_needs_command" -f -a "list" -d 'List experiments'
complete -c chaos -n "__fish_chaos_needs_command" -f -a "status" -d 'Show one experiment and its latest run'
complete -c chaos -n "__fish_chaos_needs_command" -f -a "stop" -d 'Stop one or all runs now; returns when every fault is proven reverted'
complete -c chaos -n "__fish_chaos_needs_command" -f -a "delete" -d 'Delete an experiment and its runs; an active run is stopped and reverted first'
complete -c chaos -n "__fish_chaos_needs_command" -f -a "lever" -d 'Engage, release or show the safety lever, which stops everything'
complete -c chaos -n "__fish_chaos_needs_command" -f -a "approve" -d 'Approve an experiment of somebody else, as its document is now'
complete -c chaos -n "__fish_chaos_needs_command" -f -a "health" -d 'Show the health score and each signal behind it'
complete -c chaos -n "__fish_chaos_needs_command" -f -a "report" -d 'Print the report of a run'
complete -c chaos -n "__fish_chaos_needs_command" -f -a "incident" -d 'List, show and close incidents; print a post-mortem'
complete -c chaos -n "__fish_chaos_needs_command" -f -a "audit" -d 'Show and verify who asked for what'
complete -c chaos -n "__fish_chaos_needs_command" -f -a "token" -d 'Make, list, rotate and revoke tokens'
complete -c chaos -n "__fish_chaos_needs_command" -f -a "store" -d 'Copy, restore and check the database of the state folder'
complete -c chaos -n "__fish_chaos_needs_command" -f -a "validate" -d 'Check documents without touching anything'
complete -c chaos -n "__fish_chaos_needs_command" -f -a "init" -d 'Write a commented starter document'
complete -c chaos -n "__fish_chaos_needs_command" -f -a "faults" -d 'List the faults, or show one with its parameters'
complete -c chaos -n "__fish_chaos_needs_command" -f -a "targets" -d 'Show what could be hit, and how many; changes nothing'
complete -c chaos -n "__fish_chaos_needs_command" -f -a "doctor" -d 'Tell which faults this host can do, and why not'
complete -c chaos -n "__fish_chaos_needs_command" -f -a "recover" -d 'Undo whatever a dead process left'
complete -c chaos -n "__fish_chaos_needs_command" -f -a "config" -d 'Show the configuration and where each value comes from'
complete -c chaos -n "__fish_chaos_needs_command" -f -a "demo" -d 'Run four experiments on a small real service and leave nothing'
complete -c chaos -n "__fish_chaos_needs_command" -f -a "serve" -d 'Run the server'
complete -c chaos -n "__fish_chaos_needs_command" -f -a "agent" -d 'Make this host a node of a server elsewhere'
complete -c chaos -n "__fish_chaos_needs_command" -f -a "completions" -d 'Print a completion script for a shell'
complete -c chaos -n "__fish_chaos_needs_command" -f -a "generate" -d 'Write the generated reference files'
complete -c chaos -n "__fish_chaos_using_subcommand run" -s f -l config -l file -d 'File, folder, or - for standard input; may be given several times' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand run" -l type -d 'Fault, e.g. pod_kill; `chaos faults` lists them' -r
complete -c chaos -n "__fish_chaos_using_subcommand run" -l name -d 'Name of the experiment [default: made of app and type]' -r
complete -c chaos -n "__fish_chaos_using_subcommand run" -l target-app -d 'App on this host [default: as configured, else orchestrator]' -r
complete -c chaos -n "__fish_chaos_using_subcommand run" -s n -l namespace -d 'Namespace [default: default]' -r
complete -c chaos -n "__fish_chaos_using_subcommand run" -l duration -d 'How long, e.g. 30s, 2m, or a number of seconds [default: 30s]' -r
complete -c chaos -n "__fish_chaos_using_subcommand run" -l percent -d 'Share of the instances, e.g. 50 [default: one instance]' -r
complete -c chaos -n "__fish_chaos_using_subcommand run" -l safety-threshold -d 'Health score below which nothing starts or goes on, 0 to 1 [default: as configured, else 0.8]' -r
complete -c chaos -n "__fish_chaos_using_subcommand run" -l set -d 'Parameter of the fault, a YAML scalar; may be given several times' -r
complete -c chaos -n "__fish_chaos_using_subcommand run" -l seed -d 'Seed of every choice [default: drawn and recorded]' -r
complete -c chaos -n "__fish_chaos_using_subcommand run" -l override -d 'Caps to lift for this run: max_affected, last_ready_instance, unmanaged_kill, protected, window, budget' -r
complete -c chaos -n "__fish_chaos_using_subcommand run" -l reason -d 'Why they are lifted; logged' -r
complete -c chaos -n "__fish_chaos_using_subcommand run" -l expect -d 'Exit 0 when this is the verdict, 3 when it is another' -r -f -a "held\t'The hypothesis holds'
deviated\t'A weakness is found'
stopped\t'A guardrail or a hand ends it'
blocked\t'A gate refuses it'"
complete -c chaos -n "__fish_chaos_using_subcommand run" -l on-deviation -d 'What becomes of the other documents when one deviates' -r -f -a "continue\t'The next document'
stop\t'Nothing any more; what runs at the same time goes on to its end'"
complete -c chaos -n "__fish_chaos_using_subcommand run" -l parallel -d 'How many documents run at the same time; never two on one target' -r
complete -c chaos -n "__fish_chaos_using_subcommand run" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand run" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand run" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand run" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand run" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand run" -s R -l recursive -d 'Look into folders below a folder too'
complete -c chaos -n "__fish_chaos_using_subcommand run" -l lenient -d 'Start although a stop condition has no data and so could never end the run'
complete -c chaos -n "__fish_chaos_using_subcommand run" -l dry-run -d 'Resolve targets, ask every gate and print the plan; change nothing'
complete -c chaos -n "__fish_chaos_using_subcommand run" -l standalone -d 'Run in this process although a server is configured'
complete -c chaos -n "__fish_chaos_using_subcommand run" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand run" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand create" -s f -l yaml -l file -d 'File, folder, or - for standard input; may be given several times' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand create" -l override -d 'Caps to lift for this run: max_affected, last_ready_instance, unmanaged_kill, protected, window, budget' -r
complete -c chaos -n "__fish_chaos_using_subcommand create" -l reason -d 'Why they are lifted; logged' -r
complete -c chaos -n "__fish_chaos_using_subcommand create" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand create" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand create" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand create" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand create" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand create" -s R -l recursive -d 'Look into folders below a folder too'
complete -c chaos -n "__fish_chaos_using_subcommand create" -l paused -d 'Register only, start nothing'
complete -c chaos -n "__fish_chaos_using_subcommand create" -l lenient -d 'Start although a stop condition has no data and so could never end the run'
complete -c chaos -n "__fish_chaos_using_subcommand create" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand create" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand list" -s n -l namespace -d 'Only this namespace' -r
complete -c chaos -n "__fish_chaos_using_subcommand list" -l status -d 'Only this status: pending, running, completed, stopped, blocked, cancelled, error' -r
complete -c chaos -n "__fish_chaos_using_subcommand list" -l type -d 'Only this type' -r
complete -c chaos -n "__fish_chaos_using_subcommand list" -l verdict -d 'Only this verdict: held, deviated, stopped, blocked, inconclusive, error' -r
complete -c chaos -n "__fish_chaos_using_subcommand list" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand list" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand list" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand list" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand list" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand list" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand list" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand status" -s n -l namespace -d 'Its namespace' -r
complete -c chaos -n "__fish_chaos_using_subcommand status" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand status" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand status" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand status" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand status" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand status" -s w -l watch -d 'Go on until the run is finished'
complete -c chaos -n "__fish_chaos_using_subcommand status" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand status" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand stop" -s n -l namespace -d 'Its namespace' -r
complete -c chaos -n "__fish_chaos_using_subcommand stop" -l reason -d 'Why, for the journal' -r
complete -c chaos -n "__fish_chaos_using_subcommand stop" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand stop" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand stop" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand stop" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand stop" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand stop" -l all -d 'Everything that runs or waits'
complete -c chaos -n "__fish_chaos_using_subcommand stop" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand stop" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand stop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand delete" -s n -l namespace -d 'Its namespace' -r
complete -c chaos -n "__fish_chaos_using_subcommand delete" -l reason -d 'Why, for the journal of a run that is stopped by it' -r
complete -c chaos -n "__fish_chaos_using_subcommand delete" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand delete" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand delete" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand delete" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand delete" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand delete" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand delete" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand lever; and not __fish_seen_subcommand_from engage release show" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand lever; and not __fish_seen_subcommand_from engage release show" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand lever; and not __fish_seen_subcommand_from engage release show" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand lever; and not __fish_seen_subcommand_from engage release show" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand lever; and not __fish_seen_subcommand_from engage release show" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand lever; and not __fish_seen_subcommand_from engage release show" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand lever; and not __fish_seen_subcommand_from engage release show" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand lever; and not __fish_seen_subcommand_from engage release show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand lever; and not __fish_seen_subcommand_from engage release show" -f -a "engage" -d 'Stop everything, and let nothing start'
complete -c chaos -n "__fish_chaos_using_subcommand lever; and not __fish_seen_subcommand_from engage release show" -f -a "release" -d 'Let runs start again'
complete -c chaos -n "__fish_chaos_using_subcommand lever; and not __fish_seen_subcommand_from engage release show" -f -a "show" -d 'Show how it stands, who moved it, and why'
complete -c chaos -n "__fish_chaos_using_subcommand lever; and __fish_seen_subcommand_from engage" -l reason -d 'Why; recorded' -r
complete -c chaos -n "__fish_chaos_using_subcommand lever; and __fish_seen_subcommand_from engage" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand lever; and __fish_seen_subcommand_from engage" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand lever; and __fish_seen_subcommand_from engage" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand lever; and __fish_seen_subcommand_from engage" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand lever; and __fish_seen_subcommand_from engage" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand lever; and __fish_seen_subcommand_from engage" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand lever; and __fish_seen_subcommand_from engage" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand lever; and __fish_seen_subcommand_from engage" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand lever; and __fish_seen_subcommand_from release" -l reason -d 'Why; recorded' -r
complete -c chaos -n "__fish_chaos_using_subcommand lever; and __fish_seen_subcommand_from release" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand lever; and __fish_seen_subcommand_from release" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand lever; and __fish_seen_subcommand_from release" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand lever; and __fish_seen_subcommand_from release" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand lever; and __fish_seen_subcommand_from release" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand lever; and __fish_seen_subcommand_from release" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand lever; and __fish_seen_subcommand_from release" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand lever; and __fish_seen_subcommand_from release" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand lever; and __fish_seen_subcommand_from show" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand lever; and __fish_seen_subcommand_from show" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand lever; and __fish_seen_subcommand_from show" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand lever; and __fish_seen_subcommand_from show" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand lever; and __fish_seen_subcommand_from show" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand lever; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand lever; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand lever; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand approve" -s n -l namespace -d 'Its namespace' -r
complete -c chaos -n "__fish_chaos_using_subcommand approve" -l document -d 'Only this document, by the hash that `chaos status` shows [default: the one that is registered now]' -r
complete -c chaos -n "__fish_chaos_using_subcommand approve" -l reason -d 'Why; recorded' -r
complete -c chaos -n "__fish_chaos_using_subcommand approve" -l valid-for -d 'How long it counts [default: as the policy says, else a day]' -r
complete -c chaos -n "__fish_chaos_using_subcommand approve" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand approve" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand approve" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand approve" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand approve" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand approve" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand approve" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand approve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand health" -l target-app -d 'App whose readiness counts' -r
complete -c chaos -n "__fish_chaos_using_subcommand health" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand health" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand health" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand health" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand health" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand health" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand health" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand health" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand report" -s n -l namespace -d 'Its namespace' -r
complete -c chaos -n "__fish_chaos_using_subcommand report" -l format -d 'Form of the report [default: text, or json with --output json]' -r -f -a "text\t'For a terminal'
md\t'Markdown'
json\t'For programs'
junit\t'JUnit XML, for CI'"
complete -c chaos -n "__fish_chaos_using_subcommand report" -l run -d 'This run instead of the latest' -r
complete -c chaos -n "__fish_chaos_using_subcommand report" -s o -d 'Write it to a file' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand report" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand report" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand report" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand report" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand report" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand report" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand report" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand report" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand incident; and not __fish_seen_subcommand_from list show close" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand incident; and not __fish_seen_subcommand_from list show close" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand incident; and not __fish_seen_subcommand_from list show close" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand incident; and not __fish_seen_subcommand_from list show close" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand incident; and not __fish_seen_subcommand_from list show close" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand incident; and not __fish_seen_subcommand_from list show close" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand incident; and not __fish_seen_subcommand_from list show close" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand incident; and not __fish_seen_subcommand_from list show close" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand incident; and not __fish_seen_subcommand_from list show close" -f -a "list" -d 'List incidents, the latest first'
complete -c chaos -n "__fish_chaos_using_subcommand incident; and not __fish_seen_subcommand_from list show close" -f -a "show" -d 'Show one, or its post-mortem'
complete -c chaos -n "__fish_chaos_using_subcommand incident; and not __fish_seen_subcommand_from list show close" -f -a "close" -d 'Close one, with what was found out'
complete -c chaos -n "__fish_chaos_using_subcommand incident; and __fish_seen_subcommand_from list" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand incident; and __fish_seen_subcommand_from list" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand incident; and __fish_seen_subcommand_from list" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand incident; and __fish_seen_subcommand_from list" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand incident; and __fish_seen_subcommand_from list" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand incident; and __fish_seen_subcommand_from list" -l all -d 'Closed ones too'
complete -c chaos -n "__fish_chaos_using_subcommand incident; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand incident; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand incident; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand incident; and __fish_seen_subcommand_from show" -l format -d 'Markdown of a post-mortem instead' -r -f -a "md\t'A post-mortem in Markdown'"
complete -c chaos -n "__fish_chaos_using_subcommand incident; and __fish_seen_subcommand_from show" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand incident; and __fish_seen_subcommand_from show" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand incident; and __fish_seen_subcommand_from show" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand incident; and __fish_seen_subcommand_from show" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand incident; and __fish_seen_subcommand_from show" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand incident; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand incident; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand incident; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand incident; and __fish_seen_subcommand_from close" -l note -d 'What was found out' -r
complete -c chaos -n "__fish_chaos_using_subcommand incident; and __fish_seen_subcommand_from close" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand incident; and __fish_seen_subcommand_from close" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand incident; and __fish_seen_subcommand_from close" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand incident; and __fish_seen_subcommand_from close" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand incident; and __fish_seen_subcommand_from close" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand incident; and __fish_seen_subcommand_from close" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand incident; and __fish_seen_subcommand_from close" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand incident; and __fish_seen_subcommand_from close" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand audit; and not __fish_seen_subcommand_from list verify export" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand audit; and not __fish_seen_subcommand_from list verify export" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand audit; and not __fish_seen_subcommand_from list verify export" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand audit; and not __fish_seen_subcommand_from list verify export" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand audit; and not __fish_seen_subcommand_from list verify export" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand audit; and not __fish_seen_subcommand_from list verify export" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand audit; and not __fish_seen_subcommand_from list verify export" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand audit; and not __fish_seen_subcommand_from list verify export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand audit; and not __fish_seen_subcommand_from list verify export" -f -a "list" -d 'Show entries, the latest last'
complete -c chaos -n "__fish_chaos_using_subcommand audit; and not __fish_seen_subcommand_from list verify export" -f -a "verify" -d 'Check that nothing was changed, added or cut off'
complete -c chaos -n "__fish_chaos_using_subcommand audit; and not __fish_seen_subcommand_from list verify export" -f -a "export" -d 'Print every entry, one JSON value a line'
complete -c chaos -n "__fish_chaos_using_subcommand audit; and __fish_seen_subcommand_from list" -l after -d 'Only entries after this one' -r
complete -c chaos -n "__fish_chaos_using_subcommand audit; and __fish_seen_subcommand_from list" -l limit -d 'At most so many' -r
complete -c chaos -n "__fish_chaos_using_subcommand audit; and __fish_seen_subcommand_from list" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand audit; and __fish_seen_subcommand_from list" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand audit; and __fish_seen_subcommand_from list" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand audit; and __fish_seen_subcommand_from list" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand audit; and __fish_seen_subcommand_from list" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand audit; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand audit; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand audit; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand audit; and __fish_seen_subcommand_from verify" -l file -d 'An exported file instead of the server\'s log' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand audit; and __fish_seen_subcommand_from verify" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand audit; and __fish_seen_subcommand_from verify" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand audit; and __fish_seen_subcommand_from verify" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand audit; and __fish_seen_subcommand_from verify" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand audit; and __fish_seen_subcommand_from verify" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand audit; and __fish_seen_subcommand_from verify" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand audit; and __fish_seen_subcommand_from verify" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand audit; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand audit; and __fish_seen_subcommand_from export" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand audit; and __fish_seen_subcommand_from export" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand audit; and __fish_seen_subcommand_from export" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand audit; and __fish_seen_subcommand_from export" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand audit; and __fish_seen_subcommand_from export" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand audit; and __fish_seen_subcommand_from export" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand audit; and __fish_seen_subcommand_from export" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand audit; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke" -f -a "create" -d 'Make a token and print it, once'
complete -c chaos -n "__fish_chaos_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke" -f -a "list" -d 'List tokens, never their secrets'
complete -c chaos -n "__fish_chaos_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke" -f -a "rotate" -d 'Replace a token by a new one of the same name and role'
complete -c chaos -n "__fish_chaos_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke" -f -a "revoke" -d 'Take a token back, at once and for ever'
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from create" -l name -d 'Whose it is; recorded with everything that is done with it' -r
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from create" -l role -d 'viewer, operator, approver, admin or agent' -r
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from create" -l valid-for -d 'How long it is good for, e.g. 90d [default: for ever]' -r
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from create" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from create" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from create" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from create" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from create" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from create" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from create" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from list" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from list" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from list" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from list" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from list" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from rotate" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from rotate" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from rotate" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from rotate" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from rotate" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from rotate" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from rotate" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from rotate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from revoke" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from revoke" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from revoke" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from revoke" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from revoke" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from revoke" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from revoke" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand token; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand store; and not __fish_seen_subcommand_from backup restore check" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand store; and not __fish_seen_subcommand_from backup restore check" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand store; and not __fish_seen_subcommand_from backup restore check" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand store; and not __fish_seen_subcommand_from backup restore check" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand store; and not __fish_seen_subcommand_from backup restore check" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand store; and not __fish_seen_subcommand_from backup restore check" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand store; and not __fish_seen_subcommand_from backup restore check" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand store; and not __fish_seen_subcommand_from backup restore check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand store; and not __fish_seen_subcommand_from backup restore check" -f -a "backup" -d 'Copy the database to a new file'
complete -c chaos -n "__fish_chaos_using_subcommand store; and not __fish_seen_subcommand_from backup restore check" -f -a "restore" -d 'Put a copy in its place'
complete -c chaos -n "__fish_chaos_using_subcommand store; and not __fish_seen_subcommand_from backup restore check" -f -a "check" -d 'Check that everything fits together'
complete -c chaos -n "__fish_chaos_using_subcommand store; and __fish_seen_subcommand_from backup" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand store; and __fish_seen_subcommand_from backup" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand store; and __fish_seen_subcommand_from backup" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand store; and __fish_seen_subcommand_from backup" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand store; and __fish_seen_subcommand_from backup" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand store; and __fish_seen_subcommand_from backup" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand store; and __fish_seen_subcommand_from backup" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand store; and __fish_seen_subcommand_from backup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand store; and __fish_seen_subcommand_from restore" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand store; and __fish_seen_subcommand_from restore" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand store; and __fish_seen_subcommand_from restore" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand store; and __fish_seen_subcommand_from restore" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand store; and __fish_seen_subcommand_from restore" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand store; and __fish_seen_subcommand_from restore" -l replace -d 'Although there is a database'
complete -c chaos -n "__fish_chaos_using_subcommand store; and __fish_seen_subcommand_from restore" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand store; and __fish_seen_subcommand_from restore" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand store; and __fish_seen_subcommand_from restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand store; and __fish_seen_subcommand_from check" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand store; and __fish_seen_subcommand_from check" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand store; and __fish_seen_subcommand_from check" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand store; and __fish_seen_subcommand_from check" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand store; and __fish_seen_subcommand_from check" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand store; and __fish_seen_subcommand_from check" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand store; and __fish_seen_subcommand_from check" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand store; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand validate" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand validate" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand validate" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand validate" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand validate" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand validate" -s R -l recursive -d 'Look into folders below a folder too'
complete -c chaos -n "__fish_chaos_using_subcommand validate" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand validate" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand validate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand init" -l type -d 'Fault that it starts with' -r
complete -c chaos -n "__fish_chaos_using_subcommand init" -l target-app -d 'App that it hits' -r
complete -c chaos -n "__fish_chaos_using_subcommand init" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand init" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand init" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand init" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand init" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand init" -l force -d 'Overwrite a file that is there'
complete -c chaos -n "__fish_chaos_using_subcommand init" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand init" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand init" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand faults" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand faults" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand faults" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand faults" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand faults" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand faults" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand faults" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand faults" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand targets" -l target-app -l app -d 'A unit, a container, or processes by this name [default: as configured]' -r
complete -c chaos -n "__fish_chaos_using_subcommand targets" -l process-name -d 'Processes with this name of the executable or of argv[0]' -r
complete -c chaos -n "__fish_chaos_using_subcommand targets" -l cmdline -d 'Processes with this part in their command line' -r
complete -c chaos -n "__fish_chaos_using_subcommand targets" -l user -d 'Processes of this user' -r
complete -c chaos -n "__fish_chaos_using_subcommand targets" -l port -d 'Processes that listen on this port' -r
complete -c chaos -n "__fish_chaos_using_subcommand targets" -l unit -d 'A systemd unit' -r
complete -c chaos -n "__fish_chaos_using_subcommand targets" -l container -d 'A container by id' -r
complete -c chaos -n "__fish_chaos_using_subcommand targets" -l cgroup -d 'A cgroup by its path' -r
complete -c chaos -n "__fish_chaos_using_subcommand targets" -l pid -d 'One process' -r
complete -c chaos -n "__fish_chaos_using_subcommand targets" -l select -d 'How many of what matches: one, all, 3, 50%, <=30%' -r
complete -c chaos -n "__fish_chaos_using_subcommand targets" -l hosts -d 'Hosts to look at, of those that are connected to the server [default: every one]' -r
complete -c chaos -n "__fish_chaos_using_subcommand targets" -l seed -d 'Seed of the choice' -r
complete -c chaos -n "__fish_chaos_using_subcommand targets" -l max-affected -d 'Cap on the affected share' -r
complete -c chaos -n "__fish_chaos_using_subcommand targets" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand targets" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand targets" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand targets" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand targets" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand targets" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand targets" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand targets" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand doctor" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand doctor" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand doctor" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand doctor" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand doctor" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand doctor" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand doctor" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand recover" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand recover" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand recover" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand recover" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand recover" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand recover" -l force -d 'Also end the faults of living fault processes'
complete -c chaos -n "__fish_chaos_using_subcommand recover" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand recover" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand recover" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand config; and not __fish_seen_subcommand_from show" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand config; and not __fish_seen_subcommand_from show" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand config; and not __fish_seen_subcommand_from show" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand config; and not __fish_seen_subcommand_from show" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand config; and not __fish_seen_subcommand_from show" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand config; and not __fish_seen_subcommand_from show" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand config; and not __fish_seen_subcommand_from show" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand config; and not __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand config; and not __fish_seen_subcommand_from show" -f -a "show" -d 'Print every value with its origin'
complete -c chaos -n "__fish_chaos_using_subcommand config; and __fish_seen_subcommand_from show" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand config; and __fish_seen_subcommand_from show" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand config; and __fish_seen_subcommand_from show" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand config; and __fish_seen_subcommand_from show" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand config; and __fish_seen_subcommand_from show" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand config; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand config; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand config; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand demo" -l scenario -d 'Only this scenario; may be given several times' -r -f -a "pod-resilience\t'Half of the replicas are killed'
resource-limits\t'One replica is starved of CPU and memory'
circuit-breaker\t'One replica answers nobody while its health check passes'
safety-block\t'Nothing is killed while the service is not well'"
complete -c chaos -n "__fish_chaos_using_subcommand demo" -l breaker -d 'The service\'s circuit breaker' -r -f -a "on\t'It works'
off\t'It does nothing'"
complete -c chaos -n "__fish_chaos_using_subcommand demo" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand demo" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand demo" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand demo" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand demo" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand demo" -l keep -d 'Leave the service up on 127.0.0.1:8080 until Ctrl-C'
complete -c chaos -n "__fish_chaos_using_subcommand demo" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand demo" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand serve" -l listen -d 'Where to listen; what others can reach needs TLS' -r
complete -c chaos -n "__fish_chaos_using_subcommand serve" -l tls-cert -d 'Speak TLS with this certificate (PEM), followed by those that lead to its authority' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand serve" -l tls-key -d 'Its private key (PEM)' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand serve" -l name -d 'Another name that the server is called by; may be given several times' -r
complete -c chaos -n "__fish_chaos_using_subcommand serve" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand serve" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand serve" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand serve" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand serve" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand serve" -l tls -d 'Speak TLS with a certificate of our own authority, made below the state folder'
complete -c chaos -n "__fish_chaos_using_subcommand serve" -l insecure-http -d 'Listen without TLS although others can reach the address: something in front of it speaks TLS'
complete -c chaos -n "__fish_chaos_using_subcommand serve" -l no-local-agent -d 'Break nothing on this host: faults are for connected agents alone'
complete -c chaos -n "__fish_chaos_using_subcommand serve" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand serve" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand agent" -l name -d 'What this host is called [default: its host name]' -r
complete -c chaos -n "__fish_chaos_using_subcommand agent" -l token-file -d 'File with the bearer token, private to its owner' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand agent" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand agent" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand agent" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand agent" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand agent" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand agent" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand agent" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand agent" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand completions" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand completions" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand completions" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand completions" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand completions" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand completions" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand completions" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chaos -n "__fish_chaos_using_subcommand generate" -l out -d 'The folder' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand generate" -l server -d 'Server to ask, e.g. http://127.0.0.1:8081 [env: CHAOS_SERVER]' -r
complete -c chaos -n "__fish_chaos_using_subcommand generate" -l config-file -d 'Configuration file [env: CHAOS_CONFIG_FILE] [default: $XDG_CONFIG_HOME/chaos/config.yaml]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand generate" -l state -d 'State folder [env: CHAOS_STATE] [default: $XDG_STATE_HOME/chaos, /var/lib/chaos as root]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand generate" -l ca -d 'Certificate (PEM) of the authority to trust for https [env: CHAOS_CA]' -r -F
complete -c chaos -n "__fish_chaos_using_subcommand generate" -l output -d 'Form of the result on standard output [env: CHAOS_OUTPUT] [default: text]' -r -f -a "text\t'A table or a few lines for people'
wide\t'The same with more columns'
json\t'One JSON value; lists are one array'
yaml\t'One YAML document'
jsonl\t'One JSON value a line'"
complete -c chaos -n "__fish_chaos_using_subcommand generate" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c chaos -n "__fish_chaos_using_subcommand generate" -s v -l verbose -d 'Say more on standard error; twice: even more'
complete -c chaos -n "__fish_chaos_using_subcommand generate" -s h -l help -d 'Print help (see more with \'--help\')'
