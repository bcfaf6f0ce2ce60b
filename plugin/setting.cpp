#include "setting.h"

#include <cctype>
#include <cstdlib>

namespace ocs {

namespace {

// Walks through JSON text and builds nothing. After the end it reads NUL, so malformed text just ends.
class Walker {
 public:
  explicit Walker(const std::string& text) : text_(text) {}

  char Peek() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) at_++;
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  bool Take(char expected) {
    if (Peek() != expected) return false;
    at_++;
    return true;
  }

  std::string String() {
    std::string value;
    if (!Take('"')) return value;
    while (at_ < text_.size() && text_[at_] != '"') {
      char c = text_[at_++];
      if (c == '\\' && at_ < text_.size()) c = Escape();
      value += c;
    }
    at_++;
    return value;
  }

  void SkipValue() {
    int depth = 0;
    do {
      const char c = Peek();
      if (c == '\0') return;
      if (c == '"') {
        String();
      } else {
        if (c == '{' || c == '[') depth++;
        if (c == '}' || c == ']') depth--;
        at_++;
        // A word or number ends where the next punctuation begins.
        if (depth == 0 && c != '}' && c != ']')
          while (at_ < text_.size() && std::string(",}] \t\r\n").find(text_[at_]) == std::string::npos) at_++;
      }
    } while (depth > 0);
  }

  // Moves to the value of `key` in the object that begins here.
  bool Enter(const std::string& key) {
    if (!Take('{')) return false;
    while (Peek() == '"') {
      const std::string name = String();
      if (!Take(':')) return false;
      if (name == key) return true;
      SkipValue();
      if (!Take(',')) return false;
    }
    return false;
  }

 private:
  char Escape() {
    const char c = text_[at_++];
    switch (c) {
      case 'n': return '\n';
      case 't': return '\t';
      case 'r': return '\r';
      case 'b': return '\b';
      case 'f': return '\f';
      case 'u': {
        const std::string digits = text_.substr(at_, 4);
        at_ += digits.size();
        const long code = std::strtol(digits.c_str(), nullptr, 16);
        return code < 0x80 ? static_cast<char>(code) : '?';
      }
      default: return c;
    }
  }

  const std::string& text_;
  size_t at_ = 0;
};

}  // namespace

std::string FindSetting(const std::string& json, std::initializer_list<const char*> names) {
  Walker walker(json);
  for (const char* name : names)
    if (!walker.Enter(name)) return "";
  return walker.Peek() == '"' ? walker.String() : "";
}

bool HasSetting(const std::string& json, const char* name) { return Walker(json).Enter(name); }

}  // namespace ocs
