#!/bin/sh
# One data set of triplets out of many packed sets of real motion. Start it again to go on where it stopped.
#   sh examples/posecap/real_motion.sh DATA OUT        DATA: a folder with one folder per set
# Test parts are kept apart as split "test". Rates that are not known stay unknown. Licences are the words that the
# sets' own pages use; read those before you publish anything that was made from them.
set -e
data=$1
out=$2
add() { # file, split, part (may be empty), licence, [captions]
    [ -f "$data/$1" ] || { echo "not there: $data/$1"; return 0; }
    set -- "$1" "$2" "$3" "$4" "${5:+--captions}" "${5:+$data/$5}"
    echo "$1 $3"
    # shellcheck disable=SC2086
    ${TMOR:-tmor} build -o "$out" --from-poses "$data/$1" --split "$2" ${3:+--part "$3"} --licence "$4" $5 $6
}
research="research use, no licence text published"
add penn_action/penn_action.npz train is_train "$research"
add penn_action/penn_action.npz test "not is_train" "$research"
add utd_mhad/utd_mhad_skeleton.npz train is_train_xsub "$research"
add utd_mhad/utd_mhad_skeleton.npz test "not is_train_xsub" "$research"
add nw_ucla/nw_ucla.npz train is_train_xview "$research"
add nw_ucla/nw_ucla.npz test "not is_train_xview" "$research"
add jhmdb/jhmdb.npz train "is_train[0]" "$research"
add jhmdb/jhmdb.npz test "not is_train[0]" "$research"
add bandai_namco/bandai_namco.npz train "not is_test_xstyle_suggested" "CC BY-NC 4.0"
add bandai_namco/bandai_namco.npz test is_test_xstyle_suggested "CC BY-NC 4.0"
add msrc12/msrc12.npz train is_train_xsub "non-commercial research"
add msrc12/msrc12.npz test "not is_train_xsub" "non-commercial research"
add kard/kard.npz train is_train_xsub "$research"
add kard/kard.npz test "not is_train_xsub" "$research"
add cad60/cad60.npz train "subject != 4" "research with citation"
add cad60/cad60.npz test "subject == 4" "research with citation"
add florence3d/florence3d.npz train is_train_xsub "$research"
add florence3d/florence3d.npz test "not is_train_xsub" "$research"
add sbu_interaction/sbu_interaction.npz train "fold != 0" "$research"
add sbu_interaction/sbu_interaction.npz test "fold == 0" "$research"
add hdm05_11/hdm05_11.npz train is_train_xsub "$research"
add hdm05_11/hdm05_11.npz test "not is_train_xsub" "$research"
add cmu_mocap/cmu_mocap.npz train "" "CMU motion capture terms: free use, not to be sold as data" cmu_mocap/captions.json
add cmu_mocap/cmu_eval8.npz train is_train "CMU motion capture terms: free use, not to be sold as data"
add cmu_mocap/cmu_eval8.npz test "not is_train" "CMU motion capture terms: free use, not to be sold as data"
add cmu_mocap/cmu_dance_martial.npz train "" "CMU motion capture terms: free use, not to be sold as data"
# For study only: not for weights that are given away.
study="study only"
add gesture_phase/gesture_phase.npz "" "" "$study"
add h36m/h36m.npz "" "" "$study"
add gtu_action3d/gtu_action3d.npz "" "" "$study"
add cdta_gestures/cdta_gestures.npz "" "" "$study"
add zed_boxing/zed_boxing.npz "" "" "$study"
