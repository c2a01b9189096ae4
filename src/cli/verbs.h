/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The functions that carry verbs out, by file. The rows of verbs_*.c name them. */
#ifndef KV_CLI_VERBS_H
#define KV_CLI_VERBS_H

#include "cli/cli.h"

typedef int verb_fn(struct cli *cli);

/* domain_life.c */
verb_fn domain_start, domain_create, domain_define, domain_destroy, domain_shutdown, domain_reboot,
    domain_reset, domain_suspend, domain_resume, domain_autostart, domain_rename, domain_inject_nmi,
    domain_set_lifecycle_action, domain_pm_suspend, domain_pm_wakeup;
/* domain_undefine.c */
verb_fn domain_undefine;
/* domain_save.c */
verb_fn domain_dump, domain_save, domain_managed_save, domain_managed_save_remove,
    domain_managed_save_xml, domain_job_info, domain_job_abort, domain_screenshot;
/* domain_list.c */
verb_fn domain_list;
/* domain_info.c */
verb_fn domain_info, domain_state, domain_id, domain_name, domain_uuid, domain_control, domain_xml,
    domain_from_native, domain_hostname, domain_time;
/* domain_stats.c */
verb_fn domain_stats, domain_block_stat, domain_interface_stat, domain_memory_stat,
    domain_cpu_stats;
/* domain_devices.c */
verb_fn domain_block_list, domain_block_info, domain_block_error, domain_block_resize,
    domain_interface_list, domain_interface_addresses, domain_interface_link, domain_display,
    domain_vnc_display, domain_tty_console;
/* domain_attach.c */
verb_fn domain_attach_device, domain_detach_device, domain_update_device, domain_detach_alias;
/* attach_as.c, domain_change.c */
verb_fn domain_attach_disk, domain_attach_interface, domain_detach_disk, domain_detach_interface,
    domain_change_media, domain_set_link;
/* domain_memory.c */
verb_fn domain_set_memory, domain_set_max_memory, domain_memtune, domain_blkiotune,
    domain_schedinfo, domain_numatune, domain_interface_tune, domain_perf;
/* domain_iotune.c */
verb_fn domain_iotune;
/* domain_cpu.c */
verb_fn domain_set_vcpus, domain_vcpu_count, domain_vcpu_info, domain_vcpu_pin, domain_emulator_pin,
    domain_iothread_info, domain_iothread_change, domain_iothread_pin;
/* domain_text.c */
verb_fn domain_description, domain_metadata, domain_edit;
/* domain_agent.c */
verb_fn domain_monitor_command, domain_agent_command, domain_send_key, domain_password,
    domain_freeze, domain_thaw, domain_trim, domain_filesystems, domain_guest_info,
    domain_guest_vcpus;
/* console.c */
verb_fn domain_console;
/* event.c */
verb_fn event_domain, event_of_objects;
/* host.c */
verb_fn host_capabilities, host_domain_capabilities, host_hostname, host_uri, host_version,
    host_sysinfo, host_max_vcpus, host_cpu_models, host_alloc_pages;
/* host_node.c */
verb_fn node_info, node_cpu_map, node_cpu_stats, node_memory_stats, node_memory_tune,
    node_free_cell, node_free_pages;
/* interface.c */
verb_fn iface_list, iface_xml, iface_mac, iface_name;
/* nodedev.c */
verb_fn nodedev_list, nodedev_xml, nodedev_info;
/* secret.c */
verb_fn secret_list, secret_define, secret_xml, secret_set_value, secret_get_value, secret_undefine;
/* pool.c, volume.c, volume_data.c */
verb_fn pool_list, pool_action, pool_autostart, pool_xml, pool_info, pool_name, pool_uuid,
    pool_capabilities, pool_find_sources, pool_define, pool_define_as, pool_edit;
verb_fn volume_list, volume_info, volume_xml, volume_key, volume_name, volume_path, volume_pool,
    volume_create, volume_create_as, volume_create_from, volume_clone, volume_delete, volume_resize,
    volume_wipe;
verb_fn volume_upload, volume_download;
/* snapshot.c */
verb_fn snapshot_list, snapshot_current, checkpoint_list;
/* unserved.c: asked of the daemon, which so far refuses */
verb_fn unserved;
/* refused.c */
verb_fn refused;
/* help.c */
verb_fn help_run;
/* own.c */
verb_fn own_cd, own_pwd, own_echo, own_quit, own_connect, own_complete;
/* switch.c */
verb_fn switch_show, switch_ports, switch_fdb, switch_fdb_add, switch_fdb_remove;
/* switch_capture.c */
verb_fn switch_capture;
/* switch_top.c */
verb_fn switch_top;
/* switch_filter.c */
verb_fn switch_acl, switch_acl_set, switch_acl_remove, switch_filter, switch_trace;
/* What virsh does not have: run.c, events.c, logs.c, top.c, doctor.c, wait.c, ssh.c,
 * image_build.c, image_import.c */
verb_fn run_machine, events_follow, logs_show, top_show, doctor_run, wait_for_machine, ssh_login,
    ssh_copy, image_build, image_import;

#endif
