#include "host/own_process.h"

#if defined(_WIN32)
#include <windows.h>
#else
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#endif

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <string>

namespace aspired {

std::vector<uint32_t> ParseNsPids(std::string_view status) {
  constexpr std::string_view kKey = "\nNSpid:";
  std::vector<uint32_t> pids;
  const size_t at = status.find(kKey);
  if (at == std::string_view::npos) return pids;
  status.remove_prefix(at + kKey.size());
  status = status.substr(0, status.find('\n'));
  for (;;) {
    const size_t digit = status.find_first_not_of(" \t");
    if (digit == std::string_view::npos) return pids;
    status.remove_prefix(digit);
    uint32_t pid = 0;
    const auto [end, error] =
        std::from_chars(status.data(), status.data() + status.size(), pid);
    if (error != std::errc()) return pids;
    pids.push_back(pid);
    status.remove_prefix(static_cast<size_t>(end - status.data()));
  }
}

#if defined(_WIN32)

OwnProcess ReadOwnProcess() { return {{GetCurrentProcessId()}, true}; }

bool ProcessExists(uint32_t pid) {
  const HANDLE process =
      OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, FALSE, pid);
  if (process == nullptr) return GetLastError() == ERROR_ACCESS_DENIED;
  CloseHandle(process);
  return true;
}

#else

OwnProcess ReadOwnProcess() {
  OwnProcess own;
  own.pids.push_back(static_cast<uint32_t>(getpid()));
  std::ifstream file("/proc/self/status");
  const std::string text((std::istreambuf_iterator<char>(file)),
                         std::istreambuf_iterator<char>());
  for (const uint32_t pid : ParseNsPids(text)) {
    if (std::find(own.pids.begin(), own.pids.end(), pid) == own.pids.end()) {
      own.pids.push_back(pid);
    }
  }
  // The number of the first namespace is fixed in the kernel (proc_ns.h).
  char link[64] = {};
  if (readlink("/proc/self/ns/pid", link, sizeof(link) - 1) > 0) {
    own.in_initial_namespace = std::string_view(link) == "pid:[4026531836]";
  }
  return own;
}

bool ProcessExists(uint32_t pid) {
  return kill(static_cast<pid_t>(pid), 0) == 0 || errno != ESRCH;
}

#endif

}  // namespace aspired
