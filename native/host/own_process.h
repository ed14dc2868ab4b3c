// This process as others may name it.
#ifndef ASPIRED_HOST_OWN_PROCESS_H_
#define ASPIRED_HOST_OWN_PROCESS_H_

#include <cstdint>
#include <string_view>
#include <vector>

namespace aspired {

struct OwnProcess {
  // Every number that this process is known to have, its own view first. From
  // the NSpid line of /proc/self/status: with the host's /proc mounted it also
  // names those of the outer namespaces.
  std::vector<uint32_t> pids;
  // False in a container with process ids of its own: numbers that come from
  // outside may then mean other processes. True when the system does not say.
  bool in_initial_namespace = true;
};

// Reads the system. A fork makes the answer stale. Thread-safe.
OwnProcess ReadOwnProcess();

// The numbers of the NSpid line of such a status text; empty without one.
std::vector<uint32_t> ParseNsPids(std::string_view status);

// Whether this process can see a process of that number. Thread-safe.
bool ProcessExists(uint32_t pid);

}  // namespace aspired

#endif  // ASPIRED_HOST_OWN_PROCESS_H_
